internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// `output`, `rejects`, `checkpoint` and `limits`.
extension JobParser {
  func output(
    _ output: YAMLReader.Object, _ keep: Job.Output.Keep, _ window: any WindowKind
  ) -> Job.Output {
    let destination = output.entry("to").flatMap { place($0, of: "results") }
    let publish = schedule(output)
    if let mode = output.entry("mode") { _ = reader.choice(mode) }
    if let entry = output.entry("keep"), keep == .each, window.keepsState {
      reader.fail(
        entry, value: keep.rawValue, "applies only to batch windows and row jobs",
        "Leave it out: each window has an object of its own")
    }
    if let entry = output.entry, keep == .each, publish != .batch {
      reader.fail(
        entry,
        "has keep: each, which gives each batch an object of its own, and a publish that makes "
          + "batches wait",
        "Leave publish out, or write keep: latest")
    }
    return Job.Output(
      destination: destination ?? .file(path: "."), format: reader.choice(output, "format"),
      keep: keep, publish: publish, manifest: reader.flag(output, "manifest"),
      s3: s3(reader.object(output, "s3"), destination),
      maxPendingBytes: reader.size(output, "max_pending_bytes"))
  }

  private func schedule(_ output: YAMLReader.Object) -> Job.Output.PublishSchedule {
    reader.value(output, "publish") { text in
      switch text {
      case "batch": return .batch
      case "run_end": return .runEnd
      default:
        guard text.hasPrefix("every ") else { return nil }
        return YAMLReader.milliseconds(String(text.dropFirst("every ".count)))
          .map { .every(milliseconds: $0) }
      }
    } fault: {
      ("is not a valid schedule", "Write batch, run_end or for example every 30s")
    }
  }

  private func place(
    _ entry: YAMLReader.Entry, of things: String
  ) -> Job.Output.Destination? {
    guard let text = reader.string(entry) else { return nil }
    guard let destination = Job.Output.Destination(text: text) else {
      reader.fail(
        entry, value: text, "is not a valid place for \(things)",
        "Write s3://BUCKET/PREFIX or file:FOLDER")
      return nil
    }
    if case .s3(let bucket, let prefix) = destination {
      if !Job.Output.Destination.isBucket(bucket) {
        reader.fail(
          entry, value: text, "does not name a valid S3 bucket",
          "Use 3 to 63 of a-z, 0-9, '.' and '-'")
      }
      let segments = prefix.split(separator: "/", omittingEmptySubsequences: false)
      if !prefix.isEmpty && segments.contains(where: { ["", ".", ".."].contains($0) }) {
        reader.fail(
          entry, value: text, "has an empty, '.' or '..' part in its prefix",
          "Write plain names between the slashes")
      }
    }
    if holdsControlCharacter(text) {
      reader.fail(
        entry, value: text, "holds a line end or another control character", "Remove it")
    }
    if destination.segments.contains("_tranche") {
      reader.fail(
        entry, value: text,
        "lies in a folder _tranche, where Tranche keeps what it stores beside results",
        "Name another folder")
    }
    return destination
  }

  private func s3(_ s3: YAMLReader.Object, _ destination: Job.Output.Destination?) -> Job.S3Options
  {
    let endpoint = s3.entry("endpoint").flatMap(endpoint)
    let region: String = reader.value(s3, "region", allowsEmpty: true) { region in
      // It stands in the host's name and in a header.
      let isLegal =
        region.utf8.count <= 63
        && region.allSatisfy { JobNames.isLetterOrDigit($0) || "-_.".contains($0) }
      return isLegal ? region : nil
    } fault: {
      ("is not a valid region name", "Use letters, digits and '-', as in eu-central-1")
    }
    // AWS's certificate covers one label before its own name, which a bucket with dots is not.
    var style = Job.S3Options.AddressingStyle.virtual
    if case .s3(let bucket, _) = destination, bucket.contains(".") { style = .path }
    if endpoint != nil { style = .path }
    if let entry = s3.entry("addressing") {
      style = reader.choice(entry).flatMap(Job.S3Options.AddressingStyle.init) ?? style
    }
    return Job.S3Options(
      endpoint: endpoint, region: region, addressing: style,
      credentials: s3.entry("credentials").map(credentials) ?? .environment,
      timeoutMilliseconds: reader.duration(s3, "timeout"),
      maxAttempts: Int(reader.integer(s3, "max_attempts")),
      caFile: s3.entry("ca_file").flatMap(file))
  }

  private func endpoint(_ entry: YAMLReader.Entry) -> String? {
    guard let endpoint = reader.nonEmpty(entry) else { return nil }
    let address = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
    if address.contains("@") {
      reader.fail(
        entry, "holds a user name or password",
        "Write http://HOST:PORT, and credentials under output.s3.credentials")
    } else if let (problem, remedy) = addressFault(address) {
      reader.fail(entry, value: endpoint, problem, remedy)
    }
    return address
  }

  /// What is wrong with `http://HOST:PORT` or `https://HOST`, if something is.
  private func addressFault(_ address: String) -> (problem: String, remedy: String)? {
    if holdsControlCharacter(address) {
      return ("holds a line end or another control character", "Remove it")
    }
    if !address.utf8.allSatisfy({ $0 < 0x80 }) {
      return (
        "holds a character that is not ASCII",
        "Write the host's name in its ASCII form, such as xn--bcher-kva.example"
      )
    }
    let scheme = ["http://", "https://"].first(where: address.hasPrefix) ?? ""
    let authority = address.dropFirst(scheme.count)
    // An IPv6 address stands in brackets, with colons of its own.
    let bracket = authority.firstIndex(of: "]").map(authority.index(after:))
    let host = authority[..<(bracket ?? authority.firstIndex(of: ":") ?? authority.endIndex)]
    let port = authority[host.endIndex...]
    let isHost =
      bracket == nil
      ? host.allSatisfy { JobNames.isLetterOrDigit($0) || "-._".contains($0) }
      : host.hasPrefix("[") && host.dropFirst().dropLast().allSatisfy { $0.isHexDigit || $0 == ":" }
    if scheme.isEmpty || host.isEmpty || !isHost || port.contains("/") {
      return (
        "is not a valid server address", "Write http://HOST:PORT or https://HOST, without a path"
      )
    }
    let isPort =
      port.first == ":" && port.dropFirst().allSatisfy(\.isNumber)
      && Int(port.dropFirst()).map { (1...65_535).contains($0) } == true
    return port.isEmpty || isPort
      ? nil : ("does not name a valid port", "Write a number from 1 to 65535 behind the ':'")
  }

  private func holdsControlCharacter(_ text: String) -> Bool {
    text.utf8.contains { $0 < 0x20 || $0 == 0x7F }
  }

  private func file(_ entry: YAMLReader.Entry) -> String? {
    guard let path = reader.nonEmpty(entry) else { return nil }
    if let fault = fileFault(path) { reader.fail(entry, value: path, fault.problem, fault.remedy) }
    return path
  }

  private func credentials(_ entry: YAMLReader.Entry) -> Job.S3Options.Credentials {
    let object = reader.object(entry)
    func value(_ name: String) -> String? { object.entry(name).flatMap(reader.nonEmpty) }
    let (profile, token) = (value("profile"), value("session_token"))
    let (accessKeyID, secret) = (value("access_key_id"), value("secret_access_key"))
    if let profile {
      if accessKeyID != nil || secret != nil || token != nil {
        reader.fail(entry, "has both a profile and keys", "Give one or the other")
      }
      return .profile(profile)
    }
    guard let accessKeyID, let secret else {
      reader.fail(
        entry, "is not complete",
        "Give profile, or access_key_id and secret_access_key; leave it out for the environment")
      return .environment
    }
    return .keys(accessKeyID: accessKeyID, secretAccessKey: secret, sessionToken: token)
  }

  func rejects(_ rejects: YAMLReader.Object) -> Job.RejectRules {
    Job.RejectRules(
      policy: reader.choice(rejects, "policy"), maxShare: reader.share(rejects, "max_share"),
      maxShareOver: reader.integer(rejects, "max_share_over"),
      minRecords: reader.integer(rejects, "min_records"))
  }

  func backup(_ checkpoint: YAMLReader.Object) -> Job.Backup? {
    guard checkpoint.entry("backup") != nil else { return nil }
    let backup = reader.object(checkpoint, "backup")
    let destination = backup.entry("to").flatMap { place($0, of: "backups") }
    return Job.Backup(
      destination: destination ?? .file(path: "."),
      everyMilliseconds: reader.duration(backup, "every"), keep: reader.integer(backup, "keep"))
  }

  func limits(_ limits: YAMLReader.Object) -> Job.Limits {
    Job.Limits(
      batchBytes: reader.size(limits, "batch_bytes"),
      recordBytes: reader.size(limits, "record_bytes"),
      groupsPerWindow: reader.integer(limits, "groups_per_window"),
      windowsPerBatch: reader.integer(limits, "windows_per_batch"),
      keyBytes: reader.size(limits, "key_bytes"), valueBytes: reader.size(limits, "value_bytes"),
      objectBytes: reader.size(limits, "object_bytes"),
      futureMilliseconds: reader.duration(limits, "future"))
  }
}
