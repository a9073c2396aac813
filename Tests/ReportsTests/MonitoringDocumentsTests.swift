import Foundation
import Testing

@testable import Reports

/// What names metrics and is not made from the table of them.
private enum Document {
  static func text(_ name: String) throws -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    return try String(
      contentsOf: root.appendingPathComponent("docs/\(name)"), encoding: .utf8)
  }

  /// Of the alert rules: each rule, from its name on.
  static func rules() throws -> [Substring] {
    try text("monitoring/tranche-rules.yml").split(separator: "      - alert: ").dropFirst()
      .map { $0 }
  }

  /// Of the dashboard: what each target asks for, and how its curves are called.
  static func targets() throws -> [Substring] {
    let json = try JSONSerialization.jsonObject(
      with: Data(text("monitoring/tranche-dashboard.json").utf8))
    let board = try #require(json as? [String: Any])
    var targets: [Substring] = []
    for panel in try #require(board["panels"] as? [[String: Any]]) {
      for target in try #require(panel["targets"] as? [[String: Any]]) {
        let expression = try #require(target["expr"] as? String)
        targets.append("\(expression) \(target["legendFormat"] ?? "")"[...])
      }
    }
    let variables = try #require((board["templating"] as? [String: Any])?["list"])
    let asked = (variables as? [[String: Any]] ?? []).compactMap {
      ($0["query"] as? [String: Any])?["query"] as? String
    }
    #expect(!asked.isEmpty)
    return targets + asked.map { $0[...] }
  }

  static func matches(_ pattern: String, in text: Substring) throws -> [String] {
    let expression = try NSRegularExpression(pattern: pattern)
    let text = String(text)
    return expression.matches(
      in: text, range: NSRange(location: 0, length: text.utf16.count)
    ).compactMap { Range($0.range(at: 1), in: text).map { String(text[$0]) } }
  }
}

@Suite("The documents about metrics")
struct MonitoringDocumentsTests {
  /// By the name of a series.
  private let labels = Dictionary(
    uniqueKeysWithValues: MetricFamily.all.flatMap { family in
      family.seriesNames.map { name in
        (name, Set(family.labels + (name.hasSuffix("_bucket") ? ["le"] : [])))
      }
    })

  /// What every series gets from Prometheus.
  private static let ofScrapes: Set = ["instance", "job"]

  private func check(_ text: Substring) throws {
    let names = try Document.matches(#"\b(tranche_[a-z_]+)"#, in: text)
    #expect(!names.isEmpty, "\(text)")
    var known = Self.ofScrapes
    for name in names {
      guard let own = labels[name] else {
        Issue.record("\(name) is not exposed: \(text)")
        continue
      }
      known.formUnion(own)
    }
    // In matchers of a series only its own.
    for selector in try Document.matches(#"(tranche_[a-z_]+\{[^}]*\})"#, in: text) {
      let own = labels[String(selector.prefix { $0 != "{" })] ?? []
      for label in try Document.matches(#"([a-z_]+)(?:=|!)"#, in: selector[...]) {
        #expect(own.contains(label), "\(label) in \(selector)")
      }
    }
    let lists = try Document.matches(#"\b(?:by|without|on|ignoring) \(([^)]*)\)"#, in: text)
    let shown =
      try Document.matches(#"\$labels\.([a-z_]+)"#, in: text)
      + Document.matches(#"\{\{([a-z_]+)\}\}"#, in: text)
      + Document.matches(#"label_values\([a-z_]+, ([a-z_]+)\)"#, in: text)
    for label in lists.flatMap({ $0.components(separatedBy: ", ") }) + shown {
      #expect(known.contains(label), "\(label) in \(text)")
    }
  }

  @Test("name in alert rules only metrics and labels that are exposed")
  func rules() throws {
    let rules = try Document.rules()
    #expect(rules.count > 5)
    for rule in rules { try check(rule) }
  }

  @Test("name in the dashboard only metrics and labels that are exposed")
  func dashboard() throws {
    let targets = try Document.targets()
    #expect(targets.count > 10)
    for target in targets { try check(target) }
  }

  @Test("list every metric as it is exposed, with its type, labels and help")
  func table() throws {
    let rows = try Document.text("monitoring.md").split(separator: "\n").filter {
      $0.hasPrefix("| `tranche_")
    }
    let expected = MetricFamily.all.map { family in
      let labels = family.labels.map { "`\($0)`" }.joined(separator: ", ")
      return "| `\(family.name)` | \(family.kind) | \(labels) | \(family.help) |"
    }
    #expect(rows.map(String.init) == expected, "\(expected.joined(separator: "\n"))")
  }

  @Test("say of each alert what to do")
  func alerts() throws {
    let text = try Document.text("monitoring.md")
    let alerts = try Document.rules().map { $0.prefix { $0 != "\n" } }
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| Tranche") }
    #expect(rows.map { $0.dropFirst(2).prefix { $0 != " " } } == alerts)
  }

  @Test("name metrics in the text only as they are exposed")
  func prose() throws {
    let names = Set(MetricFamily.all.map(\.name))
    for name in try Document.matches(
      #"`?(tranche_[a-z_]+)"#, in: Document.text("monitoring.md")[...])
    {
      #expect(names.contains(name), "\(name)")
    }
  }
}
