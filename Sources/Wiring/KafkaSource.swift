package import Engine
package import Jobs
package import Kafka
package import Logging
package import Offsets

/// The engine's port to a cluster, over librdkafka. Connects at the first question.
package final class KafkaSource: MessageSource {
  package let source: String
  private let cluster: KafkaCluster
  private let properties: [String: String]
  private let observer: ClientObserver
  /// Made when it is first asked for: most jobs show their progress in none.
  private var group: KafkaGroup?
  /// For one question to the brokers.
  private let timeoutMilliseconds: Int32 = 20_000
  /// Longest wait for a message that is known to be there.
  private let silenceMilliseconds: Int64 = 30_000
  /// For one request about a group, which nothing depends on.
  private let groupTimeoutMilliseconds: Int32 = 3_000

  /// - Parameters:
  ///   - logger: Gets librdkafka's log; all of it where the job file sets the property `debug`.
  ///   - waits: Called once a wait with what is waited for; nil where the logger is told.
  package init(
    _ cluster: Job.Cluster, job: Job,
    logger: Logger = Logger(label: "tranche") { _ in SwiftLogNoOpLogHandler() },
    waits: (@Sendable (String) -> Void)? = nil
  ) throws(SourceError) {
    source = cluster.name
    properties = cluster.properties
    observer = ClientObserver(cluster, logger, waits)
    do {
      self.cluster = try KafkaCluster(
        source: cluster.name, properties: cluster.properties, maxOffsetsPerBatch: job.maxOffsets,
        observer: observer)
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

  package func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] {
    do {
      return try self.group(group).committed(
        of: partitions, timeoutMilliseconds: groupTimeoutMilliseconds)
    } catch {
      throw SourceError(error)
    }
  }

  package func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool {
    do {
      return try self.group(group).commit(
        offsets, metadata: metadata, timeoutMilliseconds: groupTimeoutMilliseconds)
    } catch {
      throw SourceError(error)
    }
  }

  private func group(_ name: String) throws(KafkaError) -> KafkaGroup {
    if let group, group.name == name { return group }
    let new = try KafkaGroup(
      name, source: source, properties: properties, observer: observer)
    group = new
    return new
  }
}

extension ClientObserver {
  package init(
    _ cluster: Job.Cluster, _ logger: Logger, _ waits: (@Sendable (String) -> Void)?
  ) {
    var logger = logger
    logger[metadataKey: "source"] = "\(cluster.name)"
    // Who sets it wants to read it, whatever the level is otherwise.
    if cluster.properties["debug"] != nil { logger.logLevel = .debug }
    let heard = logger
    self.init(
      log: { line in
        heard.log(
          level: Logger.Level(of: line), "librdkafka",
          metadata: ["facility": "\(line.facility)", "line": "\(line.text)"])
      },
      waits: waits ?? { heard.info("waiting", metadata: ["for": "\($0)"]) })
  }
}

extension Logger.Level {
  /// By librdkafka's severity. Lines about connections are only `info`: librdkafka connects again,
  /// and if that does not help, the command itself says so.
  package init(of line: ClientLogLine) {
    let isOfConnection = ["FAIL", "REQTMOUT", "ERROR", "SSL", "OIDC"].contains(line.facility)
    self =
      switch line.severity {
      case 7...: .debug
      case 3...6 where isOfConnection: .info
      // `validate` warns of properties that do not fit together; librdkafka repeats a deprecated
      // name in every run.
      case _ where line.facility == "CONFWARN": .info
      case 5...6: .info
      case 4: .warning
      case 3: .error
      default: .critical
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
      case .lackOfResources: .lackOfResources
      case .other: .other
      }
    let cause: Cause? =
      switch error.cause {
      case nil, .noConnection, .lackOfResources: nil
      case .advertisedAddress: .advertisedAddress
      case .silent: .silent
      case .closedAtOnce: .closedAtOnce
      case .closedWithoutLogin: .wantsLogin
      case .speaksHTTP, .speaksAnother: .notKafka
      case .answerTooLarge: .answerTooLarge
      case .speaksTLS: .speaksTLS
      case .speaksNoTLS: .speaksNoTLS
      case .closedInHandshake: .closedInHandshake
      case .unverifiedCertificate: .unverifiedCertificate
      case .refusedCertificate, .otherTLSFault: .clientCertificate
      case .mechanismNotOffered: .mechanism
      case .loginRefused: .login
      case .noToken: .token
      case .noTokenServer: .tokenServer
      }
    self.init(code, place: error.place, reason: error.reason, cause: cause)
  }
}
