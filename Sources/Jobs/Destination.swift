extension Job.Output {
  /// Below what a job's objects lie.
  package enum Destination: Sendable, Equatable {
    /// A folder; relative paths are relative to the working directory.
    case file(path: String)
    /// `prefix` has no slash at either end and may be empty.
    case s3(bucket: String, prefix: String)

    /// `file:out` or `s3://bucket/prefix`: the one spelling that the checkpoint keeps.
    package var text: String {
      switch self {
      case .file(let path): "file:\(path)"
      case .s3(let bucket, let prefix):
        prefix.isEmpty ? "s3://\(bucket)" : "s3://\(bucket)/\(prefix)"
      }
    }

    /// The names between the slashes, the bucket first.
    package var segments: [String] {
      switch self {
      case .file(let path): path.split(separator: "/").map(String.init)
      case .s3(let bucket, let prefix): [bucket] + prefix.split(separator: "/").map(String.init)
      }
    }

    /// AWS, "General purpose bucket naming rules".
    package static func isBucket(_ name: String) -> Bool {
      (3...63).contains(name.utf8.count)
        && name.allSatisfy { JobNames.isLowercaseOrDigit($0) || ".-".contains($0) }
    }

    /// Reads ``text``, with or without slashes at its end; nil when it is neither form. Whether the
    /// names are legal is not asked.
    package init?(text: String) {
      if text.hasPrefix("file:"), text.count > 5 {
        var path = text.dropFirst(5)
        if path.hasPrefix("//") { path = path.dropFirst(2) }
        while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
        self = .file(path: String(path))
      } else if text.hasPrefix("s3://") {
        let parts = text.dropFirst(5).split(
          separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var prefix = parts.count > 1 ? parts[1] : ""
        while prefix.hasSuffix("/") { prefix.removeLast() }
        self = .s3(bucket: parts.first.map(String.init) ?? "", prefix: String(prefix))
      } else {
        return nil
      }
    }
  }
}
