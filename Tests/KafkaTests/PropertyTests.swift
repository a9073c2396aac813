import CRdKafka
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Kafka

@Suite("A property of librdkafka")
struct PropertyTests {
  /// What is wrong with a property by itself.
  private func fault(_ name: String, _ value: String, allowsCode: Bool = false) -> PropertyRemark? {
    KafkaCluster.remarks(on: [name: value], allowsCode: allowsCode).first { !$0.isWarning }
  }

  /// The first column of the tables that librdkafka prints of its properties.
  private func known() -> Set<String> {
    var text: UnsafeMutablePointer<CChar>?
    var byteCount = 0
    guard let file = open_memstream(&text, &byteCount) else { return [] }
    rd_kafka_conf_properties_show(file)
    fclose(file)
    defer { free(text) }
    let lines = text.map { String(cString: $0) }?.split(separator: "\n") ?? []
    return Set(
      lines.filter { $0.contains(" | ") && !$0.hasPrefix("Property") }
        .compactMap { $0.split(separator: " ").first.map(String.init) })
  }

  @Test(
    """
    is decided on, whichever the linked librdkafka has: a new one fails here until it stands in \
    PropertyRules
    """
  )
  func decided() {
    let known = known()
    #expect(
      known.count > 150 && known.contains("plugin.library.paths")
        && known.contains("request.required.acks"), "\(known.count)")
    for name in known.sorted() { #expect(PropertyRules.rule(of: name) != .undecided, "\(name)") }
    // The callbacks cannot be set as texts, and nothing else is lost by refusing them.
    #expect(known.filter { PropertyRules.rule(of: $0) == .ofTheProgram }.count >= 20)
  }

  @Test("that none of us knows is refused: it is unknown to librdkafka, or might do anything")
  func undecided() {
    #expect(PropertyRules.rule(of: "ssl.something.new") == .undecided)
    let fault = fault("ssl.something.new", "x")
    #expect(fault?.problem.contains("has no such property") == true)
  }

  @Test("that loads or runs code is refused by name, before librdkafka sees it")
  func code() throws {
    let folder = try TemporaryFolder()
    try folder.write(
      "#include <stdio.h>\n__attribute__((constructor)) static void f(void) { "
        + "fclose(fopen(\"\(folder.path)/ran\", \"w\")); }",
      to: "a.c")
    let built = try execute(
      "/usr/bin/cc", ["-shared", "-fPIC", "-o", folder.path + "/a.so", folder.path + "/a.c"])
    try #require(built.exitCode == 0)
    func ran() -> Bool { FileManager.default.fileExists(atPath: folder.path + "/ran") }
    for name in ["plugin.library.paths", "ssl.engine.location", "ssl.engine.id", "ssl.providers"] {
      for allowsCode in [false, true] {
        let fault = fault(name, folder.path + "/a.so", allowsCode: allowsCode)
        #expect(
          fault?.problem == "loads a library into this process, which a job file may not do",
          "\(name)")
      }
    }
    #expect(!ran())
    // librdkafka itself would have run it.
    let configuration = rd_kafka_conf_new()
    defer { rd_kafka_conf_destroy(configuration) }
    _ = rd_kafka_conf_set(configuration, "plugin.library.paths", folder.path + "/a.so", nil, 0)
    #expect(ran())
  }

  @Test(
    """
    for Kerberos may be a command where whoever starts Tranche allows it, and a plain word \
    otherwise
    """
  )
  func kerberos() {
    func fault(_ name: String, _ value: String, allowsCode: Bool = false) -> String? {
      self.fault(name, value, allowsCode: allowsCode).map { "\($0.problem). \($0.remedy)" }
    }
    #expect(
      fault("sasl.kerberos.kinit.cmd", "kinit; touch x")?.contains("--allow-code-properties")
        == true)
    #expect(fault("sasl.kerberos.kinit.cmd", "kinit", allowsCode: true) == nil)
    for name in ["principal", "keytab", "service.name"].map({ "sasl.kerberos." + $0 }) {
      for value in [
        "a;touch x", "a b", "$(x)", "`x`", "a|b", "-k", "a\"", "a'", "a\n", "a&b", "é",
        "%{broker.name}",
      ] {
        #expect(
          fault(name, value)?.contains("becomes part of a shell's command") == true, "\(value)")
      }
      #expect(fault(name, "kafka/host.example-1@REALM.EXAMPLE") == nil)
      #expect(fault(name, "/etc/krb5/a_b.keytab") == nil)
    }
  }

  @Test(
    "for the program is refused",
    arguments: [
      "internal.termination.signal", "log_cb", "offset.store.path", "interceptors", "group.id",
    ])
  func ofTheProgram(name: String) {
    #expect(fault(name, "9") != nil)
  }

  @Test("that connects, secures or tunes is taken")
  func harmless() {
    for (name, value) in [
      ("bootstrap.servers", "a:1,b:2"), ("security.protocol", "SSL"),
      ("sasl.mechanism", "PLAIN"), ("sasl.username", "u"),
      ("sasl.password", "p"), ("ssl.ca.location", "/etc/ca.pem"), ("fetch.min.bytes", "1"),
      ("client.id", "x"), ("retries", "3"),
    ] { #expect(fault(name, value) == nil, "\(name)") }
    #expect(
      fault("fetch.min.bytes", "many")?.problem
        == "librdkafka refuses the value")
    #expect(
      fault("fetch.mni.bytes", "1")?.problem.contains(
        "has no such property") == true)
  }

  @Test(
    "of Java's clients is refused with what to write instead",
    arguments: [
      ("sasl.jaas.config", "sasl.username and sasl.password"),
      ("ssl.truststore.location", "ssl.ca.location"),
      ("ssl.truststore.password", "Leave it out: ssl.ca.location names a PEM file"),
      ("ssl.keystore.type", "PKCS#12"), ("key.deserializer", "source.format"),
      ("value.deserializer", "source.format"), ("max.poll.records", "trigger.max_offsets"),
      ("fetch.max.wait.ms", "fetch.wait.max.ms"),
      ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
      ("sasl.login.callback.handler.class", "Leave it out: it names a Java class"),
      ("interceptor.classes", "Leave it out: it names a Java class"),
      ("ssl.endpoint.identification.algorithm", "Write none"),
    ])
  func java(name: String, remedy: String) {
    let value = name.hasPrefix("ssl.endpoint") ? "" : "hunter2"
    let fault = fault(name, value)
    #expect(fault?.remedy.contains(remedy) == true, "\(String(describing: fault))")
    #expect(fault.map { !"\($0)".contains("hunter2") } == true)
    // What librdkafka has under the same name is not refused.
    #expect(name.hasPrefix("ssl.endpoint") || !ClientConfiguration.isKnown(name))
  }

  @Test("that names the brokers otherwise is refused: librdkafka would take it instead")
  func alias() {
    let fault = fault("metadata.broker.list", "a:9092")
    #expect(fault?.problem == "is another name of bootstrap.servers")
    #expect(fault?.remedy == "Write bootstrap.servers instead")
  }

  @Test(
    "that names the brokers is a list of them",
    arguments: [
      ("a:9092", nil), ("a", nil), ("a:1, b:2 ,c", nil), ("a:1,", nil), ("10.0.0.1:65535", nil),
      ("[::1]:9092", nil), ("::1", nil), ("kafka-1.example_x.com:9092", nil),
      ("http://a:9092", "holds a '://'"), ("PLAINTEXT://a:9092", "holds a '://'"),
      ("a:1,ssl://b:2", "holds a '://'"), ("$BROKERS", "holds a '$'"),
      ("a:${PORT", "holds a '$'"), ("a:1;b:2", "is not a list of brokers"),
      ("a:1 b:2", "is not a list of brokers"), ("a b", "is not a list of brokers"),
      ("a:1/topic", "is not a list of brokers"), ("[a:1]x y", "is not a list of brokers"),
      ("ä:1", "is not a list of brokers"), ("a:1\n", "is not a list of brokers"),
      ("a:port", "names a port"), ("a:0", "names a port"), ("a:65536", "names a port"),
      ("a:", "names a port"), ("[::1]:x", "names a port"),
    ] as [(String, String?)])
  func brokers(text: String, problem: String?) {
    let fault = fault("bootstrap.servers", text)
    #expect((fault == nil) == (problem == nil), "\(String(describing: fault))")
    if let problem { #expect(fault?.problem.contains(problem) == true) }
    if problem != nil { #expect(fault?.remedy.contains("HOST:PORT") == true) }
  }

  @Test(
    "that contradicts another is refused, or warned of where a client can be made of them",
    arguments: [
      ("security.protocol=SASL_SSL sasl.username=u sasl.password=p", "there is no sasl.mechanism"),
      ("security.protocol=sasl_ssl", "there is no sasl.mechanism"),
      ("security.protocol=sasl_ssl sasl.kerberos.keytab=/k", nil),
      ("security.protocol=sasl_ssl sasl.mechanism=GSSAPI", nil),
      ("security.protocol=sasl_ssl sasl.mechanisms=plain sasl.username=u", "Write PLAIN"),
      ("security.protocol=sasl_ssl sasl.mechanism=AWS_MSK_IAM", "Use one of GSSAPI, PLAIN"),
      ("security.protocol=sasl_ssl sasl.mechanism=PLAIN", "Add sasl.username and sasl.password"),
      (
        "security.protocol=sasl_ssl sasl.mechanism=SCRAM-SHA-512 sasl.username=u",
        "Add sasl.password"
      ),
      ("security.protocol=sasl_ssl sasl.mechanism=PLAIN sasl.username=u sasl.password=p", nil),
      ("security.protocol=Sasl_Plaintext sasl.mechanism=OAUTHBEARER", "needs a source of tokens"),
      (
        "security.protocol=sasl_ssl sasl.mechanism=OAUTHBEARER "
          + "enable.sasl.oauthbearer.unsecure.jwt=true", nil
      ),
      ("sasl.username=u sasl.password=p", "warning: has no effect: security.protocol is plaintext"),
      (
        "security.protocol=ssl sasl.mechanism=PLAIN",
        "warning: has no effect: security.protocol is "
          + "ssl, so it encrypts and does not log in"
      ),
      (
        "ssl.ca.location=/ca.pem",
        "warning: has no effect: security.protocol is plaintext, which "
          + "does not encrypt"
      ),
      ("security.protocol=ssl ssl.ca.location=/ca.pem", nil), ("security.protocol=PLAINTEXT", nil),
    ] as [(String, String?)])
  func together(text: String, words: String?) {
    let properties = Dictionary(
      uniqueKeysWithValues: text.split(separator: " ").map { item in
        let parts = item.split(separator: "=", maxSplits: 1)
        return (String(parts[0]), String(parts[1]))
      })
    let remarks = KafkaCluster.remarks(on: properties).map {
      ($0.isWarning ? "warning: " : "") + "\($0.problem). \($0.remedy)"
    }
    #expect(remarks.count == (words == nil ? 0 : 1), "\(remarks)")
    if let words { #expect(remarks.first?.contains(words) == true, "\(remarks)") }
  }

  @Test(
    "names a file where it is the place of a certificate, a key or a keytab",
    arguments: [
      ("ssl.ca.location", "/ca.pem", true), ("ssl.certificate.location", "/c.pem", true),
      ("ssl.key.location", "/k.pem", true), ("ssl.keystore.location", "/k.p12", true),
      ("ssl.crl.location", "/crl", true), ("https.ca.location", "/ca", true),
      ("sasl.kerberos.keytab", "/k", true), ("ssl.ca.location", "probe", false),
      ("ssl.ca.pem", "x", false), ("client.id", "x", false),
    ])
  func namesFile(name: String, value: String, isFile: Bool) {
    #expect(KafkaCluster.namesFile(name, value: value) == isFile)
  }
}
