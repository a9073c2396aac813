internal import Foundation
import Offsets
import Tables

/// Offset ranges as the JSON that the checkpoint keeps, readable and queryable with SQLite's json
/// functions: one object a topic, one array a partition.
///
///     [{"source":"main","topic":"calls","ranges":[[0,1200,1367],[1,980,1147]]}]
///
/// A thousand partitions are written with every batch, so it is made of bytes.
enum RangesText {
  private struct Entry: Codable {
    let source: String
    let topic: String
    let ranges: [[Int64]]
  }

  /// Partition, from, to.
  static func format(_ ranges: [PartitionRange]) -> String {
    format(ranges, name: "ranges", partition: \.partition) {
      [Int64($0.partition.partition), $0.from, $0.to]
    }
  }

  /// Which offsets contributed to an object: partition, smallest and largest offset, records.
  static func format(_ lineage: [Lineage]) -> String {
    format(lineage, name: "partitions", partition: \.partition) {
      [Int64($0.partition.partition), $0.smallestOffset, $0.largestOffset, $0.recordCount]
    }
  }

  /// Partitions alone: `[{"source":"main","topic":"calls","partitions":[[0],[1]]}]`.
  static func format(_ partitions: [PartitionID]) -> String {
    format(partitions, name: "partitions", partition: \.self) { [Int64($0.partition)] }
  }

  /// Nil when the text is not what ``format(_:)-([PartitionID])`` writes.
  static func parsePartitions(_ text: String) -> [PartitionID]? {
    struct Entry: Codable {
      let source, topic: String
      let partitions: [[Int32]]
    }
    guard let entries = try? JSONDecoder().decode([Entry].self, from: Data(text.utf8)) else {
      return nil
    }
    var partitions: [PartitionID] = []
    for entry in entries {
      for numbers in entry.partitions {
        guard numbers.count == 1, numbers[0] >= 0 else { return nil }
        partitions.append(
          PartitionID(source: entry.source, topic: entry.topic, partition: numbers[0]))
      }
    }
    return Set(partitions).count == partitions.count ? partitions : nil
  }

  /// Nil when the text is not what ``format(_:)`` writes of a plan: ranges that are not empty, each
  /// partition once, fewer than 2^62 offsets in all.
  static func parse(_ text: String) -> [PartitionRange]? {
    guard let entries = try? JSONDecoder().decode([Entry].self, from: Data(text.utf8)) else {
      return nil
    }
    var ranges: [PartitionRange] = []
    var met: Set<PartitionID> = []
    var offsetCount: Int64 = 0
    for entry in entries {
      for numbers in entry.ranges {
        guard numbers.count == 3, let number = Int32(exactly: numbers[0]), number >= 0 else {
          return nil
        }
        guard numbers[1] >= 0, numbers[1] < numbers[2] else { return nil }
        let partition = PartitionID(source: entry.source, topic: entry.topic, partition: number)
        ranges.append(PartitionRange(partition, OffsetRange(from: numbers[1], to: numbers[2])))
        // Both are below 2^63, so the sum of one step does not overflow unseen.
        let (sum, isTooLarge) = offsetCount.addingReportingOverflow(numbers[2] - numbers[1])
        guard met.insert(partition).inserted, !isTooLarge, sum < 1 << 62 else { return nil }
        offsetCount = sum
      }
    }
    return ranges.isEmpty ? nil : ranges
  }

  private static func format<Item>(
    _ items: [Item], name: String, partition: (Item) -> PartitionID, numbers: (Item) -> [Int64]
  ) -> String {
    var bytes: [UInt8] = [UInt8(ascii: "[")]
    bytes.reserveCapacity(64 + items.count * 24)
    var open: PartitionID?
    for item in items {
      let identifier = partition(item)
      if let open, open.source == identifier.source && open.topic == identifier.topic {
        bytes.append(UInt8(ascii: ","))
      } else {
        if open != nil { bytes += "]},".utf8 }
        bytes += "{\"source\":".utf8
        JSONText.append(identifier.source, to: &bytes)
        bytes += ",\"topic\":".utf8
        JSONText.append(identifier.topic, to: &bytes)
        bytes += ",\"\(name)\":[".utf8
      }
      open = identifier
      var separator = UInt8(ascii: "[")
      for number in numbers(item) {
        bytes.append(separator)
        append(number, to: &bytes)
        separator = UInt8(ascii: ",")
      }
      bytes.append(UInt8(ascii: "]"))
    }
    if open != nil { bytes += "]}".utf8 }
    bytes.append(UInt8(ascii: "]"))
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A number that is not negative, as digits.
  private static func append(_ number: Int64, to bytes: inout [UInt8]) {
    let first = bytes.count
    var rest = number
    repeat {
      bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    bytes[first...].reverse()
  }
}
