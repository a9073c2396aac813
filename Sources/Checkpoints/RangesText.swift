internal import Foundation
import Offsets

/// Offset ranges as the JSON that the checkpoint keeps: an array of objects, readable and queryable with SQLite's json functions.
enum RangesText {
  private struct Entry: Codable {
    let source: String
    let topic: String
    let partition: Int32
    let from: Int64
    let to: Int64
  }

  static func format(_ ranges: [PartitionRange]) -> String {
    let parts = ranges.map { range in
      """
      {"source":\(quoted(range.partition.source)),"topic":\(quoted(range.partition.topic)),\
      "partition":\(range.partition.partition),"from":\(range.range.from),"to":\(range.range.to)}
      """
    }
    return "[" + parts.joined(separator: ",") + "]"
  }

  /// Nil when the text is not what ``format(_:)`` writes.
  static func parse(_ text: String) -> [PartitionRange]? {
    guard let entries = try? JSONDecoder().decode([Entry].self, from: Data(text.utf8)) else { return nil }
    var ranges: [PartitionRange] = []
    for entry in entries {
      guard entry.from >= 0, entry.from <= entry.to else { return nil }
      let partition = PartitionID(source: entry.source, topic: entry.topic, partition: entry.partition)
      ranges.append(PartitionRange(partition, OffsetRange(from: entry.from, to: entry.to)))
    }
    return ranges
  }

  /// Which offsets contributed to an object, in the order given.
  static func format(_ lineage: [Lineage]) -> String {
    let parts = lineage.map { part in
      """
      {"source":\(quoted(part.partition.source)),"topic":\(quoted(part.partition.topic)),"partition":\(part.partition.partition),\
      "smallest_offset":\(part.smallestOffset),"largest_offset":\(part.largestOffset),"records":\(part.recordCount)}
      """
    }
    return "[" + parts.joined(separator: ",") + "]"
  }

  /// Names of sources and topics hold no control characters (the job file is checked), so two escapes do.
  private static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }
}
