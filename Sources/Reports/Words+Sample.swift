package import Formats

/// Samples of which no job file can be made.
extension Words {
  /// - Parameter messageCount: So many messages are the sample.
  package func text(of fault: SampleFault, topic: String, messageCount: Int) -> String {
    func newest(_ one: String, _ several: String) -> String {
      messageCount == 1
        ? "topic \(topic): the newest message \(one)"
        : "topic \(topic): the newest \(grouped(Int64(messageCount))) messages \(several)"
    }
    let template = "Or write a job file by hand: without a topic, this command makes a template"
    let readable = "Tranche reads CSV and JSON, in UTF-8"
    let more = "Look at more of them with --records, or at another topic"
    return switch fault {
    case .noMessages:
      sentence("topic \(topic): there is no message yet", "Try again when there are some", template)
    case .noValues:
      sentence(newest("has no value (a tombstone)", "have no value (tombstones)"), more)
    case .emptyValues: sentence(newest("is empty", "are empty"), more)
    case .binary(let kind):
      sentence(
        newest("is no text", "are no texts") + ": \(what(kind))", remedy(kind, readable))
    case .malformedJSON:
      sentence(
        newest("begins with {, and is", "begin with {, and most are")
          + " not a valid JSON object with members",
        "Look at it with tranche peek, and correct what writes it")
    case .unevenCSV:
      sentence(
        newest("holds", "hold")
          + " no JSON objects, and as CSV the records have different numbers of fields",
        "Look at them with tranche peek. \(readable), with the same number of fields in each",
        template)
    case .tooManyFields:
      sentence(
        newest("has", "have") + " more than \(SampleShape.fieldLimit) fields in a record",
        "Write JSON, of which a job can leave fields out")
    case .noFields:
      sentence(
        newest("has", "have") + " no member that can be a field: all hold arrays",
        "Write a job file by hand: TYPE json takes an array whole, a path such as $.NAME[0] a part")
    }
  }

  private func what(_ kind: BinaryKind) -> String {
    switch kind {
    case .gzip: "the first bytes are those of gzip"
    case .zstd: "the first bytes are those of zstd"
    case .avroFile: "the first bytes are those of an Avro file"
    case .parquet: "the first bytes are those of a Parquet file"
    case .schemaRegistry:
      "the first byte is zero, as where Avro, Protobuf or JSON was written with a schema registry"
    case .other: "the bytes are not UTF-8"
    }
  }

  private func remedy(_ kind: BinaryKind, _ readable: String) -> String {
    switch kind {
    case .gzip, .zstd:
      "Let the producer compress batches (compression.type) and not values: Tranche reads those"
    case .avroFile, .parquet, .schemaRegistry:
      "\(readable): write the topic so, or convert it with a connector or a stream processor"
    case .other:
      "\(readable): Protobuf, Avro or text in another character set has to be converted first"
    }
  }
}
