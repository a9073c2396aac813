import Foundation
import TestSupport
import Testing

/// `make clickhouse` on the test stack, with a copy of `jobs/clickhouse`.
private final class Circle {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  private let stack: TestStack
  private let folder: TemporaryFolder
  // As long as api_calls, which it stands for, so that tables are as wide.
  private let name = "c" + UUID().uuidString.lowercased().prefix(8)

  init() throws {
    stack = try TestStack()
    folder = try TemporaryFolder()
    try FileManager.default.copyItem(
      atPath: Self.root.path + "/jobs/clickhouse", toPath: folder.path + "/files")
  }

  func change(_ file: String, _ old: String, _ new: String) throws {
    let path = "\(folder.path)/files/\(file)"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try #require(text.contains(old))
    try text.replacing(old, with: new).write(toFile: path, atomically: true, encoding: .utf8)
  }

  /// - Returns: What it prints, with the names that the documents have.
  func run() throws -> String {
    let store = stack.stores[1]
    let output = try stack.python(
      "Stack/circle.py", [folder.path + "/files", folder.path + "/work", name],
      environment: [
        "KAFKA_BROKERS": stack.broker, "S3_ENDPOINT": store.endpoint,
        "AWS_ACCESS_KEY_ID": store.accessKey, "AWS_SECRET_ACCESS_KEY": store.secretKey,
        "TRANCHE": stack.binary,
      ])
    return output.replacing(name, with: "api_calls")
  }
}

@Suite("From ClickHouse through Kafka and S3 back to ClickHouse", .serialized)
struct ClickHouseCircleTests {
  private func text(_ path: String) throws -> String {
    try String(contentsOf: Circle.root.appendingPathComponent(path), encoding: .utf8)
  }

  private func withoutDurations(_ text: some StringProtocol) -> String {
    String(text).replacing(/in [0-9.]+ s,/, with: "in 0.00 s,")
  }

  @Test(
    """
    ClickHouse's own SQL finds the same percentages, and a query names the hours that lack rows: \
    docs/clickhouse.md shows the statements and the output as they are
    """)
  func documented() throws {
    let output = withoutDurations(try Circle().run())
    let files = try ["tables", "compare", "lost"].map { try text("jobs/clickhouse/\($0).sql") }
    let parts = try text("docs/clickhouse.md").components(separatedBy: "```")
    var rest = output[...]
    // Every second part is a block.
    for block in stride(from: 1, to: parts.count, by: 2).map({ parts[$0] }) {
      if block.hasPrefix("sql\n") {
        let statement = block.dropFirst(4)
        #expect(files.contains { $0.contains(statement) }, "\(statement)")
      } else {
        let found = rest.range(of: withoutDurations(block.dropFirst()))
        let place = try #require(found, "\(block)\nis not in\n\(rest)")
        rest = rest[place.upperBound...]
      }
    }
    #expect(rest == "", "the document lacks the end")
  }

  @Test(
    """
    fails when other services' rows were pushed, when a percentage or a rank differs, and when \
    nothing was compared
    """,
    arguments: [
      (
        "tables.sql", "FROM services.API\nWHERE service_id = 1", "FROM services.API",
        "csv: 720 groups different; "
      ),
      (
        "shares-csv.yaml", "percentage_time: 100.0", "percentage_time: 100.00001",
        "disagree: csv: percentage_off_by "
      ),
      (
        "shares-json.yaml", "(ORDER BY time_taken)", "(ORDER BY time_taken, api_id % 2)",
        "disagree: json: rank_off_by "
      ),
      ("compare.sql", "GROUP BY format\n", "WHERE false GROUP BY format\n", "nothing was compared"),
    ])
  func disagreement(file: String, old: String, new: String, message: String) throws {
    let circle = try Circle()
    try circle.change(file, old, new)
    let error = #expect(throws: TestStack.Failure.self) { try circle.run() }
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
  }
}
