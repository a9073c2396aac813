import HTTP
import Testing

@testable import ObjectStorage

/// The four examples that AWS publishes in "Signature Calculations for the Authorization Header".
@Suite("A signature")
struct SigV4Tests {
  private let signer = SigV4(
    credentials: S3Credentials(
      accessKeyID: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", sessionToken: nil),
    region: "us-east-1")
  private let host = "examplebucket.s3.amazonaws.com"
  /// 2013-05-24T00:00:00Z
  private let seconds: Int64 = 1_369_353_600

  private func signature(_ request: SigV4.Request) -> String {
    let authorization =
      signer.sign(request, at: seconds).last { $0.name == "authorization" }?.value ?? ""
    return String(authorization.split(separator: "=").last ?? "")
  }

  @Test("of a GET with a range is AWS's")
  func get() {
    #expect(
      signature(
        .init(method: .get, host: host, path: "/test.txt", headers: [("range", "bytes=0-9")]))
        == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
  }

  @Test("of a PUT with an odd key is AWS's")
  func put() {
    let request = SigV4.Request(
      method: .put, host: host,
      path: "/" + SigV4.percentEncoded("test$file.text", keepingSlashes: true),
      headers: [
        ("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
      ],
      payload: Array("Welcome to Amazon S3.".utf8))
    #expect(
      signature(request) == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
  }

  @Test("of queries is AWS's")
  func queries() {
    #expect(
      signature(.init(method: .get, host: host, path: "/", query: [("lifecycle", "")]))
        == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
    #expect(
      signature(
        .init(method: .get, host: host, path: "/", query: [("prefix", "J"), ("max-keys", "2")]))
        == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
  }

  @Test("covers a session token")
  func token() {
    let temporary = SigV4(
      credentials: S3Credentials(accessKeyID: "A", secretAccessKey: "B", sessionToken: "C"),
      region: "us-east-1")
    let headers = temporary.sign(.init(method: .get, host: host, path: "/"), at: seconds)
    #expect(headers.contains { $0.name == "x-amz-security-token" && $0.value == "C" })
    #expect(headers.last?.value.contains("x-amz-security-token") == true)
  }

  @Test(
    "encodes as AWS does",
    arguments: [("a b+c=d:e", "a%20b%2Bc%3Dd%3Ae"), ("ü%/~", "%C3%BC%25%2F~")])
  func encoding(text: String, expected: String) {
    #expect(SigV4.percentEncoded(text, keepingSlashes: false) == expected)
  }
}

@Suite("Credentials")
struct CredentialsTests {
  private let file = """
    [default]
    aws_access_key_id = D1
    aws_secret_access_key = D2
    # a comment
    [reports]
    aws_access_key_id=R1
    aws_secret_access_key = R2=
    aws_session_token = R3
    """

  @Test("come from the environment before the shared file, and from a named profile before both")
  func order() throws {
    let environment = ["AWS_ACCESS_KEY_ID": "E1", "AWS_SECRET_ACCESS_KEY": "E2", "HOME": "/h"]
    let read: (String) -> String? = { $0 == "/h/.aws/credentials" ? file : nil }
    #expect(
      try S3Credentials.resolve(profile: nil, environment: environment, readFile: read).accessKeyID
        == "E1")
    let named = try S3Credentials.resolve(
      profile: "reports", environment: environment, readFile: read)
    #expect((named.accessKeyID, named.secretAccessKey, named.sessionToken) == ("R1", "R2=", "R3"))
    #expect(
      try S3Credentials.resolve(profile: nil, environment: ["HOME": "/h"], readFile: read)
        .accessKeyID == "D1")
    #expect(
      try S3Credentials.resolve(
        profile: nil, environment: ["HOME": "/h", "AWS_PROFILE": "reports"], readFile: read
      ).accessKeyID == "R1")
  }

  @Test("that are missing or half there are an error that says where it looked")
  func missing() {
    #expect {
      try S3Credentials.resolve(profile: "x", environment: ["HOME": "/h"], readFile: { _ in file })
    } throws: {
      "\($0)".contains("/h/.aws/credentials: profile x has no")
    }
    #expect {
      try S3Credentials.resolve(
        profile: nil, environment: ["AWS_ACCESS_KEY_ID": "A"], readFile: { _ in nil })
    } throws: {
      "\($0)".contains("AWS_SECRET_ACCESS_KEY")
    }
  }

  @Test("are never shown")
  func hidden() {
    let credentials = S3Credentials(
      accessKeyID: "AKIA", secretAccessKey: "hunter2", sessionToken: "token9")
    var dumped = ""
    dump(credentials, to: &dumped)
    for text in ["\(credentials)", String(reflecting: credentials), dumped] {
      #expect(!text.contains("hunter2") && !text.contains("token9") && !text.contains("AKIA"))
    }
  }
}
