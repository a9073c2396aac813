/// What a job file may say to librdkafka. A job file is data: it must not load or run code, and it
/// must not take what belongs to the program. So every property is decided on, by name; one that a
/// newer librdkafka brings is refused until it is listed here.
///
/// - SeeAlso: librdkafka's CONFIGURATION.md; `rd_kafka_sasl_cyrus_kinit_refresh` of its
///   rdkafka_sasl_cyrus.c, which calls system(3).
enum PropertyRules {
  enum Rule: Equatable {
    case allowed
    /// Set by Tranche.
    case reserved
    /// Loads a library, as soon as it is set or when the client starts.
    case loadsCode
    /// A shell command.
    case kerberosCommand
    /// Put into the shell command that renews Kerberos tickets, without quotes.
    case shellWord
    /// For a program that calls librdkafka: callbacks, signals, files of its own.
    case ofTheProgram
    case undecided
  }

  static func rule(of name: String) -> Rule {
    if ClientConfiguration.reserved[name] != nil { return .reserved }
    if name == kerberosCommand { return .kerberosCommand }
    if shellWords.contains(name) { return .shellWord }
    if loadsCode.contains(name) { return .loadsCode }
    if ofTheProgram.contains(name) || name.hasSuffix("_cb") { return .ofTheProgram }
    return allowed.contains(name) || allowedGroups.contains { name.hasPrefix($0) }
      ? .allowed : .undecided
  }

  /// Whether the value of a property is the path of a file or folder.
  static func namesFile(_ name: String, value: String) -> Bool {
    // librdkafka looks for the system's authorities itself.
    if name == "ssl.ca.location" && value == "probe" { return false }
    return name.hasSuffix(".location") || name == "sasl.kerberos.keytab"
  }

  /// Whether the value of a property is a secret.
  static func isSecret(_ name: String) -> Bool {
    name.hasSuffix("password") || name.hasSuffix("secret") || name == "ssl.key.pem"
      || name == "sasl.oauthbearer.config"
  }

  /// Whether a shell takes the text as one plain word.
  static func isShellWord(_ value: String) -> Bool {
    !value.isEmpty && !value.hasPrefix("-")
      && value.utf8.allSatisfy { byte in
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "-._/@:+,=".utf8.contains(byte)
        }
      }
  }

  /// Properties of Java's clients that librdkafka names differently or does not have, and what to
  /// write instead.
  static func remedy(ofJavaProperty name: String) -> String? {
    if let remedy = javaProperties[name] { return remedy }
    return javaEndings.contains { name.hasSuffix($0) } ? "Leave it out: it names a Java class" : nil
  }

  private static let javaProperties = [
    "sasl.jaas.config": "Write sasl.mechanism, sasl.username and sasl.password instead",
    "ssl.truststore.location":
      "Write ssl.ca.location instead, with the CA's certificates as a PEM file (keytool "
      + "-exportcert -rfc makes one of a .jks)",
    "ssl.truststore.certificates": "Write ssl.ca.pem instead",
    "ssl.truststore.password": "Leave it out: ssl.ca.location names a PEM file",
    "ssl.truststore.type": "Leave it out: ssl.ca.location names a PEM file",
    "ssl.keystore.type": "Leave it out: ssl.keystore.location names a PKCS#12 file",
    "ssl.keystore.key": "Write ssl.key.pem instead",
    "ssl.keystore.certificate.chain": "Write ssl.certificate.pem instead",
    "ssl.protocol": "Leave it out: OpenSSL takes the newest TLS that both sides know",
    "ssl.enabled.protocols": "Leave it out: OpenSSL takes the newest TLS that both sides know",
    "ssl.provider": "Leave it out",
    "ssl.secure.random.implementation": "Leave it out",
    "ssl.keymanager.algorithm": "Leave it out",
    "ssl.trustmanager.algorithm": "Leave it out",
    "sasl.oauthbearer.scope.claim.name": "Leave it out",
    "key.deserializer": "Leave it out: source.format and source.fields say how to read records",
    "value.deserializer": "Leave it out: source.format and source.fields say how to read records",
    "key.serializer": "Leave it out: Tranche only reads",
    "value.serializer": "Leave it out: Tranche only reads",
    "max.poll.records": "Write trigger.max_offsets instead, which is the size of a batch",
    "fetch.max.wait.ms": "Write fetch.wait.max.ms instead",
    "receive.buffer.bytes": "Write socket.receive.buffer.bytes instead",
    "send.buffer.bytes": "Write socket.send.buffer.bytes instead",
    "default.api.timeout.ms": "Write socket.timeout.ms instead",
    "exclude.internal.topics": "Leave it out: source.kafka.topics names the topics",
    "bootstrap.server": "Write bootstrap.servers instead",
    "metrics.num.samples": "Leave it out",
    "metrics.recording.level": "Leave it out",
    "metrics.sample.window.ms": "Leave it out",
  ]
  private static let javaEndings = [
    ".class", ".classes", "metric.reporters", "config.providers", "security.providers",
  ]

  private static let kerberosCommand = "sasl.kerberos.kinit.cmd"
  private static let shellWords = names(
    "sasl.kerberos.principal sasl.kerberos.keytab sasl.kerberos.service.name")
  private static let loadsCode = names(
    "plugin.library.paths ssl.engine.location ssl.engine.id ssl.providers")
  private static let ofTheProgram = names(
    """
    default_topic_conf enabled_events interceptors internal.termination.signal log.queue \
    msg_order_cmp offset.store.method \
    offset.store.path offset.store.sync.interval.ms opaque ssl_ca ssl_certificate \
    ssl_engine_callback_data ssl_key
    """)
  /// A property that begins so is a number, a switch or a word that librdkafka looks up in a list
  /// of its own.
  private static let allowedGroups = [
    "api.version.", "broker.", "fetch.", "metadata.", "queue.buffering.", "queued.",
    "reconnect.backoff.", "retry.backoff.", "socket.",
    "topic.metadata.", "transaction", "compression.",
  ]
  private static let allowed = names(
    """
    acks auto.commit.enable auto.commit.interval.ms batch.num.messages batch.size \
    bootstrap.servers builtin.features check.crcs \
    client.dns.lookup client.id client.rack connections.max.idle.ms consume.callback.max.messages \
    coordinator.query.interval.ms debug \
    delivery.report.only.error delivery.timeout.ms enable.gapless.guarantee enable.idempotence \
    enable.metrics.push enable.random.seed \
    enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification group.instance.id \
    group.protocol group.protocol.type \
    group.remote.assignor heartbeat.interval.ms https.ca.location https.ca.pem isolation.level \
    linger.ms log.connection.close \
    log.thread.name log_level max.in.flight max.in.flight.requests.per.connection \
    max.partition.fetch.bytes max.poll.interval.ms \
    message.copy.max.bytes message.max.bytes message.send.max.retries message.timeout.ms \
    partition.assignment.strategy partitioner \
    produce.offset.report queuing.strategy receive.message.max.bytes request.required.acks \
    request.timeout.ms retries \
    sasl.kerberos.min.time.before.relogin sasl.mechanism sasl.mechanisms \
    sasl.oauthbearer.client.id sasl.oauthbearer.client.secret \
    sasl.oauthbearer.config sasl.oauthbearer.extensions sasl.oauthbearer.method \
    sasl.oauthbearer.scope \
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol \
    session.timeout.ms ssl.ca.certificate.stores \
    ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.cipher.suites \
    ssl.crl.location ssl.curves.list \
    ssl.endpoint.identification.algorithm ssl.key.location ssl.key.password ssl.key.pem \
    ssl.keystore.location ssl.keystore.password \
    ssl.sigalgs.list statistics.interval.ms sticky.partitioning.linger.ms topic.blacklist
    """)

  private static func names(_ text: String) -> Set<String> {
    Set(text.split(separator: " ").map(String.init))
  }
}
