import Foundation
import TestSupport
import Testing

/// What the built binary makes of what stores answer.
@Suite("A run on a store that does not do as asked")
struct StoreAnswerTests {
  struct Mode: Sendable, CustomTestStringConvertible {
    let name: String
    let exitCode: Int32
    let message: String
    /// To the look for the marker, to the look for an object, then to each request.
    let replies: [ScriptedServer.Reply]
    var testDescription: String { name }

    init(_ name: String, _ exitCode: Int32, _ message: String, _ replies: ScriptedServer.Reply...) {
      self.name = name
      self.exitCode = exitCode
      self.message = message
      self.replies = replies
    }
  }

  private static func error(
    _ status: Int, _ code: String, _ message: String = "Words", more: String = "",
    headers: [String] = []
  ) -> ScriptedServer.Reply {
    .status(
      status, body: "<Error><Code>\(code)</Code><Message>\(message)</Message>\(more)</Error>",
      headers: headers)
  }
  private static let none = ScriptedServer.Reply.status(404)

  static let modes: [Mode] = [
    Mode(
      "expired", 77, "400 ExpiredToken: Words. The temporary credentials have expired. Get new",
      error(400, "ExpiredToken")),
    Mode("denied", 77, "the right s3:GetObject there", error(403, "AccessDenied")),
    Mode("denied PUT", 77, "the right s3:PutObject there", none, none, error(403, "AccessDenied")),
    Mode(
      "denied HEAD", 77,
      "answered 403 to a HEAD, whose answer gives no reason. Give these credentials the right "
        + "s3:GetObject there. Without s3:ListBucket on the bucket, S3 refuses to say",
      none, .status(403)),
    Mode(
      "unknown key", 77, "The store does not know these credentials",
      error(403, "InvalidAccessKeyId")),
    Mode(
      "wrong secret", 77, "The secret access key does not belong to the access key",
      error(403, "SignatureDoesNotMatch")),
    Mode("clock", 77, "Set this machine's clock", error(403, "RequestTimeTooSkewed")),
    Mode(
      "KMS", 77, "Enable the key that encrypts the bucket", none, none,
      error(400, "KMS.DisabledException")),
    Mode(
      "malformed", 65, "; the bucket is in region eu-west-1. Set output.s3.region: eu-west-1,",
      error(
        400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong",
        more: "<Region>eu-west-1</Region>")),
    Mode(
      "301", 65, "Set output.s3.region: eu-west-1,",
      error(301, "PermanentRedirect", headers: ["x-amz-bucket-region: eu-west-1"])),
    Mode("no bucket", 65, "Create the bucket, or correct output.to", error(404, "NoSuchBucket")),
    Mode(
      "307 for ever", 69, "; it names http://127.0.0.1:1/x. The store sends requests elsewhere",
      error(307, "TemporaryRedirect", headers: ["Location: http://127.0.0.1:1/x"])),
    Mode(
      "409 for ever", 69, "Something else changes the same object or bucket now",
      error(409, "OperationAborted")),
    Mode("slow", 69, "The store has too much to do", error(503, "SlowDown")),
    Mode("failing", 69, "The store reported an internal error", error(500, "InternalError")),
    Mode("full", 74, "Free space in the store or raise its quota", error(403, "QuotaExceeded")),
    Mode(
      "no ETag", 65, "answered 200 without an ETag, which acknowledges nothing. Is output.s3.end",
      none, none, .status(200, headers: [])),
    Mode(
      "html", 65, "and not of a proxy, a login page or a console?",
      .status(200, body: "<html>please log in</html>", headers: ["Content-Type: text/html"])),
    Mode(
      "lock", 65, "Tranche sends Content-MD5 where a store asks for a checksum", none, none,
      error(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required")),
    Mode(
      "bad key", 77, "the access key id is empty, or holds a line end, a space or another invalid",
      .status(200)),
  ]

  private func write(_ scenario: Scenario, endpoint: String, more: String = "") throws {
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,1\n",
          "timestamp": Scenario.start,
        ],
      ])
    try scenario.folder.write(
      """
      name: job
      source:
        kafka:
          - name: main
            properties: { bootstrap.servers: "\(scenario.stack.broker)" }
            topics: [\(scenario.topic)]
        format: csv
        fields: { id: int32, ms: int32 }
      window: global
      aggregate: { by: [id], measures: { calls: count() } }
      output:
        to: "s3://bucket/x"
        format: csv
        s3: { endpoint: "\(endpoint)", max_attempts: 2\(more) }

      """, to: "job.yaml")
  }

  private func run(_ scenario: Scenario, accessKeyID: String = "AKIA") throws -> ProcessResult {
    try scenario.stack.tranche(
      ["run", "job.yaml"], in: scenario.folder.path,
      environment: ["AWS_ACCESS_KEY_ID": accessKeyID, "AWS_SECRET_ACCESS_KEY": "hunter2"])
  }

  @Test("ends with the code of what is to be done, and says it", arguments: modes)
  func mode(mode: Mode) throws {
    let last = try #require(mode.replies.last)
    let server = ScriptedServer(mode.replies.dropLast(), then: last)
    let scenario = try Scenario()
    try write(scenario, endpoint: server.endpoint)
    let isBadKey = mode.name == "bad key"
    let result = try run(scenario, accessKeyID: isBadKey ? "key\r\nX-Extra: 1" : "AKIA")
    #expect(result.exitCode == mode.exitCode, "\(result.errors)")
    #expect(result.errors.contains(mode.message), "\(result.errors)")
    #expect(!result.errors.contains("hunter2"))
    #expect(server.requests.isEmpty == isBadKey)
  }

  @Test("takes a key that ends in a line end, as secrets in files do")
  func trimmedKey() throws {
    let server = ScriptedServer([.status(404)], then: .status(403))
    let scenario = try Scenario()
    try write(scenario, endpoint: server.endpoint)
    _ = try run(scenario, accessKeyID: "AKIA\r\n")
    #expect(server.heads.allSatisfy { $0.contains("Credential=AKIA/") } && !server.heads.isEmpty)
  }

  @Test("that speaks no TLS says so after one attempt, and names ca_file")
  func plaintext() throws {
    let scenario = try Scenario()
    let endpoint = scenario.stack.strictStore.endpoint.replacing("http://", with: "https://")
    try write(scenario, endpoint: endpoint)
    let result = try run(scenario)
    #expect(result.exitCode == 77, "\(result.errors)")
    #expect(result.errors.contains("Does output.s3.endpoint speak HTTPS, with a certificate"))
    #expect(result.errors.contains("output.s3.ca_file") && !result.errors.contains("attempts"))
  }

  @Test("finds a missing ca_file before anything is read or sent; validate finds it too")
  func missingAuthorities() throws {
    let server = ScriptedServer([])
    let scenario = try Scenario()
    try write(scenario, endpoint: server.endpoint, more: ", ca_file: none.pem")
    for command in ["validate", "run"] {
      let result = try scenario.tranche(command, "job.yaml")
      #expect(result.exitCode == 65)
      #expect(
        result.errors.contains(
          "job.yaml:14: output.s3.ca_file: \"none.pem\" names a file that cannot be read. Correct"),
        "\(result.errors)")
    }
    // Who does not connect does without it.
    #expect(try scenario.tranche("status", "job.yaml").errors.contains("ca_file") == false)
    #expect(server.requests.isEmpty && scenario.folder.files(below: "checkpoints").isEmpty)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing(", ca_file: none.pem", with: "").replacing(
        "properties: {", with: "properties: { ssl.ca.location: /none.pem,"),
      to: "job.yaml")
    let kafka = try scenario.tranche("validate", "job.yaml")
    #expect(kafka.exitCode == 65)
    #expect(
      kafka.errors.contains(
        "source.kafka[0].properties.ssl.ca.location: names a file that cannot be read."),
      "\(kafka.errors)")
  }
}
