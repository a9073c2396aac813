import CRdKafka
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Kafka

@Suite("A property of librdkafka")
struct PropertyTests {
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
    let fault = KafkaCluster.fault(ofProperty: "ssl.something.new", value: "x")
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
        let fault = KafkaCluster.fault(
          ofProperty: name, value: folder.path + "/a.so", allowsCode: allowsCode)
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
      KafkaCluster.fault(ofProperty: name, value: value, allowsCode: allowsCode).map {
        "\($0.problem). \($0.remedy)"
      }
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
    #expect(KafkaCluster.fault(ofProperty: name, value: "9") != nil)
  }

  @Test("that connects, secures or tunes is taken")
  func harmless() {
    for (name, value) in [
      ("bootstrap.servers", "a:1,b:2"), ("security.protocol", "sasl_ssl"),
      ("sasl.mechanism", "PLAIN"), ("sasl.username", "u"),
      ("sasl.password", "p"), ("ssl.ca.location", "/etc/ca.pem"), ("fetch.min.bytes", "1"),
      ("client.id", "x"), ("retries", "3"),
    ] { #expect(KafkaCluster.fault(ofProperty: name, value: value) == nil, "\(name)") }
    #expect(
      KafkaCluster.fault(ofProperty: "fetch.min.bytes", value: "many")?.problem
        == "librdkafka refuses the value")
    #expect(
      KafkaCluster.fault(ofProperty: "fetch.mni.bytes", value: "1")?.problem.contains(
        "has no such property") == true)
  }
}
