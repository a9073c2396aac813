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
    var taken: Set<String> = []
    columns = shape.fields.enumerated().map { index, field in
      Column(name: Self.columnName(field.name, index, &taken), field: field)
    }
    leftOut = shape.leftOut.map { LeftOut(name: $0.name, why: Self.words(for: $0.reason)) }
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
    case .nested: "holds arrays; TYPE json takes it whole, a path such as $.NAME[0] a part of it"
    case .tooMany: "is one too many"
    }
  }

  /// The field's name, or one like it that a column can have: JSON fields have a path then.
  private static func columnName(
    _ name: String, _ index: Int, _ taken: inout Set<String>
  ) -> String {
    func isFree(_ name: String) -> Bool {
      JobNames.isColumn(name) && MessageField(rawValue: name.lowercased()) == nil
        && !taken.contains(name.lowercased())
    }
    let like = [name, JobNames.column(like: name) ?? ""].first(where: isFree)
    // As often as there are fields with a name like this one.
    let numbered = "field_\(index + 1)"
    let chosen =
      like ?? ([numbered] + (2...SampleShape.fieldLimit + 1).map { "\(numbered)_\($0)" })
      .first(where: isFree) ?? numbered
    taken.insert(chosen.lowercased())
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
    return of(.string, >) + of(.int64, <) + of(.uint64, <) + of(.bool, >)
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
