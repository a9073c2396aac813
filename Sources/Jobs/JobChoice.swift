internal import Formats
internal import Tables

/// What a first job could compute of the fields that a sample shows: windows by which time, shares
/// of which number, grouped by what. A guess for a person to change.
struct JobChoice: Equatable {
  /// A field under the name that the job file gives it.
  struct Column: Equatable {
    let name: String
    let field: SampleShape.Field
  }

  struct LeftOut: Equatable {
    let name: String
    let why: String
  }

  let columns: [Column]
  let leftOut: [LeftOut]
  /// The window's time: a field, or `record_timestamp`; nil where records have no time.
  let time: String?
  let otherTimes: [Column]
  let key: Column?
  let otherKeys: [Column]
  let number: Column?
  let otherNumbers: [Column]

  init(_ shape: SampleShape) {
    var columns: [Column] = []
    var leftOut = shape.leftOut.map { LeftOut(name: $0.name, why: Self.words(for: $0.reason)) }
    var taken: Set<String> = []
    for (index, field) in shape.fields.enumerated() {
      if let name = Self.columnName(field.name, index, shape.format, &taken) {
        columns.append(Column(name: name, field: field))
      } else {
        leftOut.append(LeftOut(name: field.name, why: "no column can have this name"))
      }
    }
    self.columns = columns
    self.leftOut = leftOut
    let times = Self.times(columns)
    let first = times.first
    time =
      first?.name ?? (shape.hasMessageTimes ? MessageField.timestamp.rawValue : nil)
    otherTimes = columns.filter { $0.field.type == .timestamp && $0 != first }
    let keys = Self.keys(columns, recordCount: shape.recordCount)
    key = keys.first
    otherKeys = Array(keys.dropFirst())
    let numbers = Self.numbers(columns.filter { $0 != keys.first })
    number = numbers.first
    otherNumbers = Array(numbers.dropFirst())
  }

  private static func words(for reason: SampleShape.LeftOut.Reason) -> String {
    switch reason {
    case .nested: "holds objects or arrays"
    case .sameName: "is another field's name in other letters"
    case .tooMany: "is one too many"
    }
  }

  /// JSON finds fields by name, so a name stays as it is or its field is left out; in CSV every
  /// field needs one, whatever it is.
  private static func columnName(
    _ name: String, _ index: Int, _ format: InputFormat, _ taken: inout Set<String>
  ) -> String? {
    func isFree(_ name: String) -> Bool {
      JobNames.isColumn(name) && MessageField(rawValue: name.lowercased()) == nil
        && !taken.contains(name.lowercased())
    }
    var chosen: String? = isFree(name) ? name : nil
    if format == .csv && chosen == nil {
      chosen = JobNames.column(like: name).flatMap { isFree($0) ? $0 : nil }
      // As often as there are fields with a name like this one.
      for suffix in [""] + (2...SampleShape.fieldLimit + 1).map({ "_\($0)" }) where chosen == nil {
        chosen = isFree("field_\(index + 1)\(suffix)") ? "field_\(index + 1)\(suffix)" : nil
      }
    }
    if let chosen { taken.insert(chosen.lowercased()) }
    return chosen
  }

  /// Those that could be the event's time, the nearest to the messages' own times first.
  private static func times(_ columns: [Column]) -> [Column] {
    let year: Int64 = 366 * 86_400_000
    return columns.filter {
      $0.field.isPossibleEventTime && ($0.field.typicalDelayMilliseconds ?? 0) <= year
    }.enumerated().sorted {
      ($0.element.field.typicalDelayMilliseconds ?? .max, $0.offset)
        < ($1.element.field.typicalDelayMilliseconds ?? .max, $1.offset)
    }.map(\.element)
  }

  /// Those with a few values: texts first, the one with the most of them, as it says most; then
  /// integers, the one with the fewest of them, as others may be amounts.
  private static func keys(_ columns: [Column], recordCount: Int) -> [Column] {
    let most = min(1_000, max(recordCount / 4, min(10, recordCount / 2)))
    let few = columns.filter {
      (2...max(2, most)).contains($0.field.distinctCount) && most >= 2
        && $0.field.misfitCount == 0
        // What holds the objects of windows is called such a name.
        && !$0.name.lowercased().hasPrefix("window_")
    }
    func of(_ type: ColumnType, _ isBefore: (Int, Int) -> Bool) -> [Column] {
      few.filter { $0.field.type == type }.enumerated().sorted {
        let (left, right) = ($0.element.field.distinctCount, $1.element.field.distinctCount)
        return left == right ? $0.offset < $1.offset : isBefore(left, right)
      }.map(\.element)
    }
    return of(.string, >) + of(.int64, <) + of(.bool, >)
  }

  /// Those that can be added up: one that is called like an amount first, then the one with the
  /// most values.
  private static func numbers(_ columns: [Column]) -> [Column] {
    let amounts: Set<String> = [
      "amount", "amt", "bytes", "cost", "count", "duration", "elapsed", "fee", "latency", "length",
      "millis", "ms", "price", "qty", "quantity", "revenue", "sec", "seconds", "size", "taken",
      "time", "total", "us", "value", "weight",
    ]
    let labels: Set<String> = [
      "code", "hash", "id", "index", "key", "line", "lat", "lon", "lng", "latitude", "longitude",
      "no", "number", "port", "status", "version", "year", "zip",
    ]
    func rank(_ column: Column) -> Int {
      words(of: column.name).contains(where: amounts.contains) ? 0 : 1
    }
    return columns.filter { column in
      let isNumber =
        switch column.field.type {
        case .int64, .double, .decimal: true
        default: false
        }
      return isNumber && !(words(of: column.name).last.map(labels.contains) ?? false)
    }.enumerated().sorted {
      let (left, right) = ($0.element, $1.element)
      return (rank(left), -left.field.distinctCount, $0.offset)
        < (rank(right), -right.field.distinctCount, $1.offset)
    }.map(\.element)
  }

  /// `timeTaken_ms` is time, taken, ms.
  private static func words(of name: String) -> [String] {
    var words: [String] = []
    var previous: Character = "_"
    for character in name {
      if character == "_" || character.isNumber {
        previous = character
        continue
      }
      if !previous.isLetter || (character.isUppercase && previous.isLowercase) { words.append("") }
      words[words.count - 1] += character.lowercased()
      previous = character
    }
    return words
  }
}
