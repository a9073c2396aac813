package import Engine
package import Jobs
package import Kafka
package import Offsets

/// The engine's port to a cluster, over librdkafka. Connects at the first question.
package final class KafkaSource: MessageSource {
  package let source: String
  private let cluster: KafkaCluster
  /// For one question to the brokers.
  private let timeoutMilliseconds: Int32 = 20_000
  /// Longest wait for a message that is known to be there.
  private let silenceMilliseconds: Int64 = 30_000

  package init(_ cluster: Job.Cluster, job: Job) throws(SourceError) {
    source = cluster.name
    do {
      self.cluster = try KafkaCluster(
        source: cluster.name, properties: cluster.properties, maxOffsetsPerBatch: job.maxOffsets)
    } catch {
      throw SourceError(error)
    }
  }

  package func clusterID() throws(SourceError) -> String? {
    do { return try cluster.clusterID(timeoutMilliseconds: timeoutMilliseconds) } catch {
      throw SourceError(error)
    }
  }

  package func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    do {
      return try cluster.partitionCounts(of: topics, timeoutMilliseconds: timeoutMilliseconds)
    } catch { throw SourceError(error) }
  }

  package func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd]
  {
    do {
      return try cluster.ends(of: partitions, timeoutMilliseconds: timeoutMilliseconds).mapValues {
        PartitionEnd(low: $0.low, end: $0.end)
      }
    } catch {
      throw SourceError(error)
    }
  }

  package func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID:
    Offset]
  {
    do {
      return try cluster.highWatermarks(of: partitions, timeoutMilliseconds: timeoutMilliseconds)
    } catch { throw SourceError(error) }
  }

  package func offsets(at timestampMilliseconds: Int64, of partitions: [PartitionID])
    throws(SourceError) -> [PartitionID: Offset]
  {
    do {
      return try cluster.offsets(
        at: timestampMilliseconds, of: partitions, timeoutMilliseconds: timeoutMilliseconds)
    } catch {
      throw SourceError(error)
    }
  }

  package func prepare(_ ranges: [PartitionRange]) throws(SourceError) {
    do { try cluster.prepare(ranges) } catch { throw SourceError(error) }
  }

  /// The first messages of a range that cannot be decoded; nil where all can.
  package func undecodable(in range: PartitionRange) throws -> OffsetRange? {
    do {
      return try cluster.undecodable(in: range, silenceMilliseconds: silenceMilliseconds)
    } catch let error as KafkaError {
      throw SourceError(error)
    }
  }

  package func read(
    _ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void
  ) throws {
    do {
      _ = try cluster.read(ranges, silenceMilliseconds: silenceMilliseconds, body: body)
    } catch let error as KafkaError {
      throw SourceError(error)
    }
  }
}

extension SourceError {
  package init(_ error: KafkaError) {
    let code: Code =
      switch error.code {
      case .unreachable: .unreachable
      case .refused: .refused
      case .unknownTopic: .unknownTopic
      case .truncated(let oldestHeld): .truncated(oldestHeld: oldestHeld)
      case .beyondEnd(let partition, let end): .beyondEnd(partition, end: end)
      case .undecodable(let partition, let baseOffset):
        .undecodable(partition, baseOffset: baseOffset)
      case .badProperty: .misconfigured
      case .other: .other
      }
    self.init(code, place: error.place, reason: error.reason)
  }
}
