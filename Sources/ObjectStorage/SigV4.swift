internal import Crypto
internal import HTTP
internal import Tables

/// AWS Signature Version 4 for S3, with the payload's hash in the signature.
///
/// One canonical form serves the wire and the signature: what is signed is what is sent.
/// - SeeAlso: AWS, "Authenticating Requests (AWS Signature Version 4)", "Signature Calculations for
///   the Authorization Header".
struct SigV4 {
  let credentials: S3Credentials
  let region: String

  struct Request {
    var method: HTTPMethod
    var host: String
    /// Percent-encoded already, from the first slash on.
    var path: String
    /// Names and values before encoding.
    var query: [(name: String, value: String)] = []
    /// In lower case; signed, besides host and the x-amz ones that signing adds.
    var headers: [(name: String, value: String)] = []
    var payload: [UInt8] = []
  }

  /// The headers to send: host aside, those given, `x-amz-content-sha256`, `x-amz-date`, the
  /// session token, and `authorization`.
  ///
  /// - Parameter seconds: Since 1970 UTC.
  func sign(_ request: Request, at seconds: Int64) -> [(name: String, value: String)] {
    let time = TimestampText.formatBasic(seconds: seconds)
    let date = String(time.prefix { $0 != "T" })
    var headers = request.headers
    headers.append(("x-amz-content-sha256", hexadecimal(SHA256.hash(data: request.payload))))
    headers.append(("x-amz-date", time))
    if let token = credentials.sessionToken { headers.append(("x-amz-security-token", token)) }
    let scope = "\(date)/\(region)/s3/aws4_request"
    let (canonical, signedNames) = canonicalRequest(request, headers)
    let hash = hexadecimal(SHA256.hash(data: Array(canonical.utf8)))
    let text = "AWS4-HMAC-SHA256\n\(time)\n\(scope)\n\(hash)"
    let signature = hexadecimal(hmac(signingKey(date), text))
    let authorization =
      "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope),"
      + "SignedHeaders=\(signedNames),Signature=\(signature)"
    return headers + [("authorization", authorization)]
  }

  private func canonicalRequest(_ request: Request, _ headers: [(name: String, value: String)]) -> (
    text: String, signedNames: String
  ) {
    let signed = (headers + [("host", request.host)]).map {
      (name: $0.name, value: Self.collapsed($0.value))
    }.sorted { $0.name < $1.name }
    let names = signed.map(\.name).joined(separator: ";")
    let lines = signed.map { "\($0.name):\($0.value)\n" }.joined()
    let payload = headers.last { $0.name == "x-amz-content-sha256" }?.value ?? ""
    return (
      "\(request.method.rawValue)\n\(request.path)\n\(Self.encoded(request.query))\n"
        + "\(lines)\n\(names)\n\(payload)",
      names
    )
  }

  private func signingKey(_ date: String) -> [UInt8] {
    let dateKey = hmac(Array("AWS4\(credentials.secretAccessKey)".utf8), date)
    return hmac(hmac(hmac(dateKey, region), "s3"), "aws4_request")
  }

  private func hmac(_ key: [UInt8], _ text: String) -> [UInt8] {
    Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
  }

  // MARK: - Encoding

  /// Everything but A-Z a-z 0-9 - . _ ~ becomes %XX; a slash stays where it separates segments.
  static func percentEncoded(_ text: String, keepingSlashes: Bool) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        bytes.append(byte)
      case UInt8(ascii: "/") where keepingSlashes: bytes.append(byte)
      default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Sorted by the encoded names, then values.
  static func encoded(_ query: [(name: String, value: String)]) -> String {
    query.map {
      percentEncoded($0.name, keepingSlashes: false) + "="
        + percentEncoded($0.value, keepingSlashes: false)
    }.sorted()
      .joined(separator: "&")
  }

  private static func collapsed(_ value: String) -> String {
    value.split(separator: " ").joined(separator: " ")
  }
}
