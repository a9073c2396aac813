internal import Expressions
internal import Formats
internal import Tables

/// `output`, `rejects` and `limits`.
extension JobParser {
  mutating func parseOutput(_ output: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(output) {
      switch name {
      case "to": parsePlace(entry)
      case "format": job.output.format = reader.choice(entry, Job.Output.Format.self) ?? .parquet
      case "mode":
        if let mode = reader.string(entry), mode != "overwrite" {
          reader.fail(entry, value: mode, "is no mode", "Use overwrite: objects are replaced whole")
        }
      case "keep":
        job.output.keep = reader.choice(entry, Job.Output.Keep.self) ?? .latest
        if job.output.keep == .each && !keepEachBatch() {
          reader.fail(
            entry, value: "each", "is for batch windows and row jobs",
            "Leave it out: each window has an object of its own")
        }
      case "publish": parsePublishSchedule(entry)
      case "max_pending_bytes":
        job.output.maxPendingBytes = reader.size(entry) ?? job.output.maxPendingBytes
      case "s3": parseS3(entry)
      default: break
      }
    }
    // AWS's certificate covers one label before its own name, which a bucket with dots is not.
    if case .s3(let bucket, _) = job.output.destination, bucket.contains("."), !hasAddressing {
      job.output.s3.addressing = .path
    }
    if !hasTo {
      reader.fail(output, "has no key to", "Write to: s3://BUCKET/PREFIX or to: file:FOLDER")
    }
    if job.output.keep == .each && job.output.publish != .batch {
      reader.fail(
        output,
        "has keep: each, which gives each batch an object of its own, and a publish that lets "
          + "batches wait",
        "Leave publish out, or write keep: latest")
    }
  }

  mutating func parsePublishSchedule(_ entry: YAMLReader.Entry) {
    guard let text = reader.string(entry) else { return }
    switch text {
    case "batch": job.output.publish = .batch
    case "run_end": job.output.publish = .runEnd
    default:
      guard text.hasPrefix("every "),
        let milliseconds = YAMLReader.milliseconds(String(text.dropFirst("every ".count)))
      else {
        return reader.fail(
          entry, value: text, "does not say when to publish",
          "Write batch, run_end or for example every 30s")
      }
      job.output.publish = .every(milliseconds: milliseconds)
    }
  }

  mutating func parsePlace(_ entry: YAMLReader.Entry) {
    hasTo = true
    destinationLine = entry.line
    guard let text = reader.string(entry) else { return }
    guard let place = Job.Output.Destination(text: text) else {
      return reader.fail(
        entry, value: text, "is no place for results", "Write s3://BUCKET/PREFIX or file:FOLDER")
    }
    if case .s3(let bucket, let prefix) = place {
      // AWS, "General purpose bucket naming rules".
      let isLegal =
        (3...63).contains(bucket.utf8.count)
        && bucket.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || ".-".contains($0)) }
      if !isLegal {
        reader.fail(
          entry, value: text, "names no bucket that S3 allows",
          "Use 3 to 63 of a-z, 0-9, '.' and '-'")
      }
      let segments = prefix.split(separator: "/", omittingEmptySubsequences: false)
      if !prefix.isEmpty && segments.contains(where: { ["", ".", ".."].contains($0) }) {
        reader.fail(
          entry, value: text, "has an empty, '.' or '..' part in its prefix",
          "Write plain names between the slashes")
      }
    }
    if place.segments.contains("_tranche") {
      reader.fail(
        entry, value: text,
        "lies in a folder _tranche, which is for what Tranche keeps beside results",
        "Name another folder")
    }
    job.output.destination = place
  }

  mutating func parseS3(_ s3: YAMLReader.Entry) {
    var hasAddressing = false
    for (name, entry) in reader.mapping(s3) {
      switch name {
      case "endpoint":
        guard let endpoint = reader.nonEmpty(entry) else { continue }
        let address = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
        let rest = address.drop { $0 != "/" }.drop { $0 == "/" }
        if rest.contains("@") {
          reader.fail(
            entry, "holds a user name or password",
            "Write http://HOST:PORT, and credentials under output.s3.credentials")
        } else if !(address.hasPrefix("http://") || address.hasPrefix("https://")) || rest.isEmpty
          || !rest.utf8.allSatisfy({ isHostByte($0) })
        {
          reader.fail(
            entry, value: endpoint, "is no address of a server",
            "Write http://HOST:PORT or https://HOST, without a path")
        }
        job.output.s3.endpoint = address
      case "region":
        guard let region = reader.nonEmpty(entry) else { continue }
        // It stands in the host's name and in a header.
        let isLegal =
          region.utf8.count <= 63
          && region.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
        if !isLegal {
          reader.fail(
            entry, value: region, "is no name of a region",
            "Use letters, digits and '-', as in eu-central-1")
        }
        job.output.s3.region = region
      case "addressing":
        hasAddressing = true
        job.output.s3.addressing = reader.choice(entry, Job.S3Options.AddressingStyle.self) ?? .path
      case "credentials": parseCredentials(entry)
      case "timeout":
        job.output.s3.timeoutMilliseconds =
          reader.duration(entry) ?? job.output.s3.timeoutMilliseconds
      case "max_attempts": job.output.s3.maxAttempts = Int(reader.integer(entry, in: 1...100) ?? 4)
      case "ca_file": job.output.s3.caFile = reader.nonEmpty(entry)
      default: break
      }
    }
    if !hasAddressing {
      job.output.s3.addressing = job.output.s3.endpoint == nil ? .virtual : .path
    }
    self.hasAddressing = hasAddressing
  }

  /// Of a host's name, a numeric address or a port.
  private func isHostByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    default: "-._:[]".utf8.contains(byte)
    }
  }

  mutating func parseCredentials(_ credentials: YAMLReader.Entry) {
    var values: [String: String] = [:]
    for (name, entry) in reader.mapping(credentials) { values[name] = reader.nonEmpty(entry) }
    if let profile = values["profile"] {
      if values.count > 1 {
        reader.fail(credentials, "names a profile and keys", "Give one or the other")
      }
      job.output.s3.credentials = .profile(profile)
    } else if let accessKeyID = values["access_key_id"], let secret = values["secret_access_key"] {
      job.output.s3.credentials = .keys(
        accessKeyID: accessKeyID, secretAccessKey: secret, sessionToken: values["session_token"])
    } else {
      reader.fail(
        credentials, "is not complete",
        "Give profile, or access_key_id and secret_access_key; leave it out for the environment")
    }
  }

  mutating func parseRejects(_ rejects: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(rejects) {
      switch name {
      case "policy":
        job.rejects.policy = reader.choice(entry, Job.RejectRules.Policy.self) ?? .quarantine
      case "max_share": job.rejects.maxShare = reader.share(entry) ?? job.rejects.maxShare
      case "max_share_over":
        job.rejects.maxShareOver =
          reader.integer(entry, in: 1...1_000_000_000) ?? job.rejects.maxShareOver
      case "min_records":
        job.rejects.minRecords =
          reader.integer(entry, in: 1...1_000_000_000) ?? job.rejects.minRecords
      default: break
      }
    }
  }

  mutating func parseLimits(_ limits: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(limits) {
      switch name {
      case "batch_bytes": job.limits.batchBytes = reader.size(entry) ?? job.limits.batchBytes
      case "record_bytes": job.limits.recordBytes = reader.size(entry) ?? job.limits.recordBytes
      case "groups_per_window":
        job.limits.groupsPerWindow =
          reader.integer(entry, in: 1...1_000_000_000) ?? job.limits.groupsPerWindow
      case "windows_per_batch":
        job.limits.windowsPerBatch =
          reader.integer(entry, in: 1...1_000_000) ?? job.limits.windowsPerBatch
      case "key_bytes": job.limits.keyBytes = reader.size(entry) ?? job.limits.keyBytes
      case "value_bytes":
        job.limits.valueBytes = reader.size(entry, most: 8 << 20) ?? job.limits.valueBytes
      // What S3 takes in one piece.
      case "object_bytes":
        job.limits.objectBytes = reader.size(entry, most: 5 << 30) ?? job.limits.objectBytes
      default: break
      }
    }
  }
}
