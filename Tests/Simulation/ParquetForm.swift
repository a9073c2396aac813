import Offsets
import Parquet
import Tables

extension Expectation.Object {
  /// The expected table as Parquet, by the product's encoder: what is compared is what it is given,
  /// with the lineage in the footer. That its files are read as they are meant is shown where other
  /// readers read them (ParquetTests, MainJobTests).
  func parquet(job: String, createdBy: String) throws -> [UInt8] {
    let schema = Schema(
      table.columns.map { ColumnDefinition($0.name, Self.type($0.type), isNullable: $0.isNullable) }
    )
    var columns = schema.columns.map { Column($0.type) }
    for row in table.rows {
      for (index, value) in row.enumerated() {
        switch value {
        case .null: columns[index].appendNull()
        case .integer(let integer): columns[index].append(integer: integer)
        case .unsigned(let number): columns[index].append(integer: Int64(keeping: number))
        case .double(let double): columns[index].append(double: double)
        case .text(let text): text.withUnsafeBytes { columns[index].append(utf8: $0) }
        }
      }
    }
    let recordCount = lineage.reduce(0) { $0 + $1.recordCount }
    return try ParquetEncoder.encode(
      Table(schema, columns: columns),
      ParquetOptions(
        metadata: [
          (key: "tranche.format_version", value: "1"), (key: "tranche.job", value: job), origin,
          (key: "tranche.records", value: String(recordCount)),
          (key: "tranche.lineage", value: lineageText),
        ], createdBy: createdBy))
  }

  private static func type(_ type: ValueType) -> ColumnType {
    switch type {
    case .int32: .int32
    case .int64: .int64
    case .uint64: .uint64
    case .bool: .bool
    case .double: .double
    case .string: .string
    case .timestamp: .timestamp
    case .decimal(let precision, let scale): .decimal(precision: precision, scale: scale)
    }
  }

  /// An object for each topic, in it for each partition its number, the smallest and the largest
  /// offset, and the records.
  private var lineageText: String {
    var topics: [(name: String, partitions: [String])] = []
    for contribution in lineage {
      let partition = contribution.partition
      let name =
        "{\"source\":\"\(partition.source)\",\"topic\":\"\(partition.topic)\""
      if topics.last?.name != name { topics.append((name, [])) }
      let numbers = [
        Int64(partition.partition), contribution.smallestOffset, contribution.largestOffset,
        contribution.recordCount,
      ]
      topics[topics.count - 1].partitions.append(
        "[\(numbers.map(String.init).joined(separator: ","))]"
      )
    }
    return "["
      + topics.map { "\($0.name),\"partitions\":[\($0.partitions.joined(separator: ","))]}" }
      .joined(separator: ",") + "]"
  }
}
