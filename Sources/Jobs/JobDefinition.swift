internal import Expressions
package import Formats
internal import Tables
internal import Windows

/// What a job's records mean to its state and its results: the settings of the job file that decide
/// it, in canonical form. A checkpoint stores each that it has had.
package struct JobDefinition: Sendable, Equatable {
  package let settings: [String: String]

  /// - Parameter settings: Others than those of a definition are left out.
  package init(_ settings: [String: String]) {
    self.settings = settings.filter { key, _ in
      key == "decoder" || JobKeys.setting(key)?.effect.isOfDefinition == true
    }
  }

  /// Whether there is state that outlives a batch. Row jobs are spelled with a global window.
  static func keepsState(_ settings: [String: String]) -> Bool {
    settings["aggregate.by"] != JobKeys.absent && WindowText.keepsState(settings["window"] ?? "")
  }

  package var keepsState: Bool { Self.keepsState(settings) }
  private var aggregates: Bool { settings["aggregate.by"] != JobKeys.absent }

  /// Whether fields are found by their position.
  var isPositional: Bool {
    settings["source.format"] == InputFormat.csv.rawValue && settings["source.csv.header"] == nil
  }

  /// As the settings spell them, in their order.
  var fieldSpellings: [String] { Self.fieldSpellings(settings["source.fields"] ?? "") }

  /// What it groups by.
  var keys: [String] { Self.list(settings["aggregate.by"]).filter { !$0.isEmpty } }

  /// `calls count()`
  package var measures: [String] { Self.list(settings["aggregate.measures"]) }

  private static func list(_ text: String?) -> [String] {
    guard let text, text != JobKeys.absent else { return [] }
    return pieces(text)
  }

  private static func pieces(_ text: String) -> [String] {
    text.split(separator: ", ", omittingEmptySubsequences: false).map(String.init)
  }

  /// Nil where a release that is not known here has spelled them.
  package var fields: [InputField]? {
    let spellings = fieldSpellings
    let fields = spellings.compactMap(InputField.init(spelling:))
    return fields.count == spellings.count ? fields : nil
  }

  /// Names of the results' columns but the computed ones, with all that decides what they hold.
  var columns: [String: String] {
    let fields = Dictionary(
      fieldSpellings.map { (Self.name(of: $0), $0) }, uniquingKeysWith: { first, _ in first })
    if !aggregates { return fields }
    var columns: [String: String] = [:]
    for key in keys { columns[key] = fields[key] ?? key }
    for measure in measures {
      let argument = measure.split(separator: "(").last.map { String($0.dropLast()) } ?? ""
      columns[Self.name(of: measure)] = "\(measure) of \(fields[argument] ?? argument)"
    }
    return columns
  }

  /// Of a field or a measure as it is spelled.
  static func name(of spelling: String) -> String {
    String(spelling.prefix { $0 != " " })
  }

  /// The fields of a list. A comma may stand in a path and in a header's name: so a field ends
  /// before a comma behind which a name and a type stand.
  private static func fieldSpellings(_ text: String) -> [String] {
    var fields: [String] = []
    for piece in pieces(text) {
      let words = piece.split(separator: " ", maxSplits: 2)
      let isField =
        words.count >= 2 && JobNames.isColumn(String(words[0]))
        && FieldType.field(String(words[1]), named: "f") != nil
      if isField || fields.isEmpty {
        fields.append(piece)
      } else {
        fields[fields.count - 1] += ", " + piece
      }
    }
    return fields
  }
}

extension InputField {
  /// The field that ``spelling`` spells; nil where none does.
  init?(spelling: String) {
    let words = spelling.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard words.count >= 2 else { return nil }
    var origin = FieldOrigin.record
    var path: JSONPath?
    if words.count == 3 {
      guard words[2].hasPrefix("from ") else { return nil }
      var place = words[2].dropFirst("from ".count)
      if place.hasPrefix("header ") {
        origin = .header(String(place.dropFirst("header ".count)))
        place = ""
      } else if place.hasPrefix("key ") {
        let form = place.dropFirst("key ".count).prefix { $0 != " " }
        guard let key = KeyForm(rawValue: String(form)) else { return nil }
        origin = .key(key)
        place = place.dropFirst("key ".count + form.count).drop { $0 == " " }
      }
      if !place.isEmpty {
        guard let found = JSONPath(String(place)) else { return nil }
        path = found
      }
    }
    guard
      let field = FieldType.field(
        String(words[1]), named: String(words[0]), origin: origin, path: path),
      field.spelling == spelling
    else { return nil }
    self = field
  }
}

extension Measure {
  /// The measure that its description spells; nil where none does.
  fileprivate init?(spelling: String, _ schema: Schema) {
    let parts = spelling.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[1].hasSuffix(")"), let open = parts[1].firstIndex(of: "("),
      let function = Measure.function(named: String(parts[1][..<open]))
    else { return nil }
    let argument = String(parts[1][parts[1].index(after: open)...].dropLast())
    var field: ColumnDefinition?
    if !argument.isEmpty {
      guard let index = schema.index(of: argument) else { return nil }
      field = schema.columns[index]
    }
    guard let made = try? function.init(field) else { return nil }
    self.init(String(parts[0]), made, argument: field?.name)
  }
}

/// The definitions that a job has had, oldest first; the newest is in force. Definition 1 is the
/// first.
package struct DefinitionHistory: Sendable, Equatable {
  /// At least one.
  package let definitions: [JobDefinition]

  package init(_ definitions: [JobDefinition]) { self.definitions = definitions }

  /// The number of the definition in force.
  package var newest: Int64 { Int64(definitions.count) }

  /// Since which definition each of a job's measures has been there. One that was not there
  /// meanwhile, or meant something else, begins anew.
  fileprivate func start(of measure: Measure) -> Int64 {
    let since = definitions.reversed().prefix { $0.measures.contains(measure.description) }
    return max(1, newest - Int64(since.count) + 1)
  }

  /// Columns that some file of the job lacks, or may hold NULL where the job file allows none now:
  /// they are optional in every file.
  fileprivate func optionalColumns(of definition: JobDefinition) -> Set<String> {
    let columns = definition.columns
    var optional: Set<String> = []
    for former in definitions.map(\.columns) where former != columns {
      for (name, meaning) in columns where former[name] != meaning { optional.insert(name) }
    }
    return optional
  }
}

extension Job {
  package var definition: JobDefinition { JobDefinition(canonicalSettings) }

  /// The job as a checkpoint with these definitions goes on with it: which knows since when each
  /// measure has been there, and which columns are optional in every file.
  package func continuing(_ history: DefinitionHistory) -> Job {
    let aggregate = aggregate.map { aggregate in
      Aggregate(
        by: aggregate.by,
        measures: aggregate.measures.map { $0.starting(with: history.start(of: $0)) })
    }
    return with(
      aggregate: aggregate, optionalColumns: history.optionalColumns(of: definition))
  }

  /// The job as it read under a former definition, without `select`: which differs from its own in
  /// fields, groups, measures and `where`; nil where it differs in more, or cannot be read.
  ///
  /// Of a job with state, those of its measures are left that it had already.
  ///
  /// - Parameters:
  ///   - former: One of those that ``continuing(_:)`` was told.
  ///   - number: Of that definition.
  package func under(_ former: JobDefinition, number: Int64) -> Job? {
    let own = definition
    if former == own { return self }
    let keys = Set(own.settings.keys).union(former.settings.keys)
    let known = ["source.fields", "aggregate.by", "aggregate.measures", "where"]
    let isKnown = keys.allSatisfy {
      own.settings[$0] == former.settings[$0] || known.contains($0)
    }
    guard isKnown, let fields = former.fields, let condition = former.settings["where"] else {
      return nil
    }
    let schema = Job.recordSchema(of: fields)
    var filter: Expression?
    if condition != JobKeys.absent {
      guard let expression = try? Expression(condition, schema: schema) else { return nil }
      filter = expression
    }
    var aggregate = aggregate
    if let current = aggregate {
      if window.keepsState {
        aggregate = Aggregate(
          by: current.by, measures: current.measures.filter { $0.start <= number })
      } else {
        let measures = former.measures.compactMap { Measure(spelling: $0, schema) }
        guard measures.count == former.measures.count,
          former.keys.allSatisfy({ schema.index(of: $0) != nil })
        else { return nil }
        aggregate = Aggregate(by: former.keys, measures: measures)
      }
    }
    return with(select: [], aggregate: aggregate, fields: fields, where: .some(filter))
  }
}
