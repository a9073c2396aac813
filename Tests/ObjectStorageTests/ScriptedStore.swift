@testable import ObjectStorage

/// A store at a server that the test itself runs. Waits for nothing between its attempts.
func scriptedStore(
  _ endpoint: String, region: String = "us-east-1", accessKeyID: String = "AKIA",
  timeoutMilliseconds: Int64 = 10_000, maxAttempts: Int = 1, caFile: String? = nil,
  sleep: @escaping @Sendable (_ milliseconds: Int64) -> Void = { _ in },
  random: @escaping @Sendable () -> Double = { 1 }
) -> S3Store {
  S3Store(
    S3Configuration(
      endpoint: endpoint, region: region, bucket: "test-bucket", prefix: "", addressing: .path,
      credentials: S3Credentials(
        accessKeyID: accessKeyID, secretAccessKey: "hunter2", sessionToken: nil),
      timeoutMilliseconds: timeoutMilliseconds, maxAttempts: maxAttempts, caFile: caFile),
    sleep: sleep, random: random)
}

/// What a request to a store fails with; nil where it succeeds.
func failure(_ body: () throws -> Void) -> ObjectStoreError? {
  do {
    try body()
    return nil
  } catch { return error as? ObjectStoreError }
}
