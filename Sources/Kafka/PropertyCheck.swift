internal import CRdKafka

/// What is wrong with a cluster's properties, found without a broker and without running any code.
/// Never holds a value, which may be a secret.
package struct PropertyRemark: Sendable, Equatable {
  /// Of the property; nil where all of them are meant.
  package let name: String?
  package let problem: String
  package let remedy: String
  /// A client can be made of the properties, and most likely does not do what was meant.
  package let isWarning: Bool

  init(_ name: String?, _ problem: String, _ remedy: String, isWarning: Bool = false) {
    self.name = name
    self.problem = problem
    self.remedy = remedy
    self.isWarning = isWarning
  }
}

extension KafkaCluster {
  /// Looks at each property, and, if each by itself is right, at all of them together.
  ///
  /// - Parameter allowsCode: The person who starts the command lets the job file name a command
  ///   for Kerberos.
  package static func remarks(
    on properties: [String: String], allowsCode: Bool = false
  ) -> [PropertyRemark] {
    let faults = properties.sorted { $0.key < $1.key }.compactMap { name, value in
      fault(ofProperty: name, value: value, allowsCode: allowsCode).map {
        PropertyRemark(name, $0.problem, $0.remedy)
      }
    }
    return faults.isEmpty ? contradictions(in: properties) : faults
  }

  /// What is wrong with a property by itself.
  private static func fault(
    ofProperty name: String, value: String, allowsCode: Bool
  ) -> (problem: String, remedy: String)? {
    switch PropertyRules.rule(of: name) {
    case .allowed: break
    case .reserved:
      return (
        "is reserved: \(ClientConfiguration.reserved[name]?.reason ?? "Tranche sets it")",
        "Leave it out"
      )
    // Not even asked: librdkafka loads a plugin's library when its name is set.
    case .loadsCode:
      return ("loads a library into this process, which a job file may not do", "Leave it out")
    case .kerberosCommand where !allowsCode:
      return (
        "names a command that is run, which a job file may not do by itself",
        "Leave it out: by default, kinit renews tickets. To allow this property, pass "
          + "--allow-code-properties to any command except validate"
      )
    case .shellWord where !allowsCode && !PropertyRules.isShellWord(value):
      return (
        "becomes part of a shell's command and is not a plain word",
        "Use letters, digits and -._/@:+,= only, '-' not first. Commands that connect take it "
          + "with --allow-code-properties"
      )
    case .kerberosCommand, .shellWord: break
    case .ofTheProgram:
      return ("is for programs that call librdkafka, not for job files", "Leave it out")
    case .undecided where ClientConfiguration.isKnown(name):
      return (
        "is not known to this release of Tranche, and might load or run code",
        "Leave it out, or use a newer release"
      )
    case .undecided: break
    }
    if let remedy = PropertyRules.remedy(ofJavaProperty: name), !ClientConfiguration.isKnown(name) {
      return ("is a property of Java's clients, which librdkafka does not have", remedy)
    }
    if name == "bootstrap.servers", let fault = fault(ofBrokerList: value) { return fault }
    // It would win where both are set.
    if name == "metadata.broker.list" {
      return ("is another name of bootstrap.servers", "Write bootstrap.servers instead")
    }
    // Java's way to check no host names.
    if name == "ssl.endpoint.identification.algorithm" && value.isEmpty {
      return ("is empty", "Write none, or https to check the names of the brokers")
    }
    guard let scratch = ConfigurationHandle() else { return nil }
    return ClientConfiguration.set(name, value, in: scratch).map {
      $0.contains(ClientConfiguration.notInThisBuild)
        ? ($0, "Use a librdkafka that was built with it")
        : ($0, "See CONFIGURATION.md of librdkafka for names and values")
    }
  }

  /// librdkafka takes any text, and tries to resolve it.
  private static func fault(ofBrokerList text: String) -> (problem: String, remedy: String)? {
    let remedy = "Write HOST:PORT, several with commas between"
    if text.contains("$") {
      return (
        "holds a '$': only ${NAME} is replaced, by the variable NAME of the environment",
        remedy + "; or ${NAME}"
      )
    }
    if text.contains("://") {
      return (
        "holds a '://': brokers have no URL", remedy + "; security.protocol says how to speak"
      )
    }
    for item in text.split(separator: ",") {
      let broker = item.split(separator: " ")
      guard let name = broker.first, broker.count == 1,
        name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || ".-_:[]%".contains($0)) })
      else { return ("is not a list of brokers", remedy) }
      // An IPv6 address stands in brackets where a port follows.
      let rest = name.hasPrefix("[") ? name.drop { $0 != "]" } : name
      let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
      if parts.count == 2, !(UInt16(parts[1]).map { $0 > 0 } ?? false) {
        return ("names a port that is not a number from 1 to 65535", remedy)
      }
    }
    return nil
  }

  // MARK: - All together

  private static let mechanisms = [
    "GSSAPI", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER",
  ]

  private static func contradictions(in properties: [String: String]) -> [PropertyRemark] {
    // As librdkafka reads its words.
    let security = (properties["security.protocol"] ?? "plaintext").lowercased()
    let ofLogin =
      security.hasPrefix("sasl_") ? loginFault(properties) : loginWarning(properties, security)
    return [ofLogin, tlsWarning(properties, security)].compactMap { $0 }
  }

  private static func loginWarning(
    _ properties: [String: String], _ security: String
  ) -> PropertyRemark? {
    let found = ["sasl.username", "sasl.password", "sasl.mechanism", "sasl.mechanisms"].first {
      properties[$0] != nil
    }
    guard let found else { return nil }
    let how =
      security == "ssl"
      ? "so it encrypts and does not log in" : "so it talks plaintext and does not log in"
    return PropertyRemark(
      found, "has no effect: security.protocol is \(security), \(how)",
      "Add security.protocol: sasl_ssl (or sasl_plaintext), or leave out the login",
      isWarning: true)
  }

  private static func tlsWarning(
    _ properties: [String: String], _ security: String
  ) -> PropertyRemark? {
    guard !security.hasSuffix("ssl"),
      let found = properties.keys.filter({ $0.hasPrefix("ssl.") }).min()
    else { return nil }
    return PropertyRemark(
      found, "has no effect: security.protocol is \(security), which does not encrypt",
      "Add security.protocol: \(security == "plaintext" ? "ssl" : "sasl_ssl"), or leave it out",
      isWarning: true)
  }

  private static func loginFault(_ properties: [String: String]) -> PropertyRemark? {
    let mechanismName = properties["sasl.mechanism"] == nil ? "sasl.mechanisms" : "sasl.mechanism"
    guard let mechanism = properties[mechanismName] else {
      // librdkafka takes GSSAPI (Kerberos) then, which needs a keytab.
      if properties.keys.contains(where: { $0.hasPrefix("sasl.kerberos.") }) { return nil }
      return PropertyRemark(
        "security.protocol", "asks for a login (SASL), and there is no sasl.mechanism",
        "Add sasl.mechanism: \(mechanisms.dropFirst().joined(separator: ", ")), or GSSAPI for "
          + "Kerberos")
    }
    guard mechanisms.contains(mechanism) else {
      let meant = mechanisms.first { $0 == mechanism.uppercased() }
      return PropertyRemark(
        mechanismName, "is not a mechanism that librdkafka knows",
        meant.map { "Write \($0)" } ?? "Use one of \(mechanisms.joined(separator: ", "))")
    }
    switch mechanism {
    case "OAUTHBEARER": return tokenFault(properties, mechanismName)
    case "GSSAPI": return nil
    default:
      let missing = ["sasl.username", "sasl.password"].filter {
        properties[$0]?.isEmpty ?? true
      }
      if missing.isEmpty { return nil }
      return PropertyRemark(
        mechanismName, "needs sasl.username and sasl.password",
        "Add \(missing.joined(separator: " and "))")
    }
  }

  /// librdkafka asks its program for a token, and would wait for ever.
  private static func tokenFault(
    _ properties: [String: String], _ mechanismName: String
  ) -> PropertyRemark? {
    let isOIDC = properties["sasl.oauthbearer.method"]?.lowercased() == "oidc"
    let isUnsecured = ["true", "t", "1"].contains(
      properties["enable.sasl.oauthbearer.unsecure.jwt"]?.lowercased() ?? "")
    if isUnsecured { return nil }
    let needed = ["client.id", "client.secret", "token.endpoint.url"].map {
      "sasl.oauthbearer.\($0)"
    }
    guard isOIDC else {
      return PropertyRemark(
        mechanismName, "needs a source of tokens, and there is none",
        "Add sasl.oauthbearer.method: oidc with \(needed.joined(separator: ", ")); this needs a "
          + "librdkafka that was built with libcurl")
    }
    guard let url = properties[needed[2]], !url.isEmpty else {
      return PropertyRemark(
        "sasl.oauthbearer.method", "needs the address that gives tokens", "Add \(needed[2])")
    }
    return nil
  }
}
