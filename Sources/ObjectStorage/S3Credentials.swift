/// Who asks. Its description says nothing of the keys.
package struct S3Credentials: Sendable, Equatable, CustomStringConvertible,
  CustomDebugStringConvertible, CustomReflectable
{
  package let accessKeyID: String
  package let secretAccessKey: String
  package let sessionToken: String?

  package init(accessKeyID: String, secretAccessKey: String, sessionToken: String?) {
    // A file or a variable often ends in a line end that is not part of the key.
    self.accessKeyID = Self.trimmed(accessKeyID)
    self.secretAccessKey = Self.trimmed(secretAccessKey)
    self.sessionToken = sessionToken.map { Self.trimmed($0) }
  }

  /// Keys and tokens are words of printable ASCII; anything else would put lines of its own into a
  /// request's header.
  func checkCharacters(place: String) throws(ObjectStoreError) {
    for (name, value) in [
      ("access key id", accessKeyID), ("secret access key", secretAccessKey),
      ("session token", sessionToken ?? "-"),
    ]
    where value.isEmpty || !value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
      throw ObjectStoreError(
        .badCredentials, place: place,
        reason: "the \(name) is empty, or holds a line end, a space or another invalid character")
    }
  }

  /// The text with `...` in place of each key or token that it repeats, also where characters of it
  /// are percent-encoded, as in the address of a redirect. The text must be whole: the beginning of
  /// a token is not found.
  func removed(from text: String) -> String {
    // The longest first: it may hold a shorter one.
    let secrets = [accessKeyID, secretAccessKey, sessionToken ?? ""].map { Array($0.utf8) }
      .filter { !$0.isEmpty }.sorted { $0.count > $1.count }
    var rest = Array(text.utf8)[...]
    var kept: [UInt8] = []
    while let byte = rest.first {
      if let after = secrets.lazy.compactMap({ Self.rest(of: rest, after: $0) }).first {
        kept += Array("...".utf8)
        rest = after
      } else {
        kept.append(byte)
        rest = rest.dropFirst()
      }
    }
    return String(decoding: kept, as: UTF8.self)
  }

  /// Nil unless the text begins with the secret.
  private static func rest(of text: ArraySlice<UInt8>, after secret: [UInt8]) -> ArraySlice<UInt8>?
  {
    if text.starts(with: secret) { return text.dropFirst(secret.count) }
    var rest = text
    for byte in secret {
      if rest.first == UInt8(ascii: "%"),
        UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16) == byte
      {
        rest = rest.dropFirst(3)
      } else if rest.first == byte {
        rest = rest.dropFirst()
      } else {
        return nil
      }
    }
    return rest
  }

  package var description: String { "credentials (not shown)" }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: []) }

  /// Finds credentials where the AWS tools do: the environment, else a profile of the shared
  /// credentials file.
  ///
  /// - Parameters:
  ///   - profile: A profile named in the job file goes before the environment; nil:
  ///     AWS_ACCESS_KEY_ID if set, else AWS_PROFILE or `default`.
  ///   - readFile: Nil for a file that cannot be read.
  /// - SeeAlso: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".
  package static func resolve(
    profile: String?, environment: [String: String], readFile: (String) -> String?
  ) throws(ObjectStoreError) -> S3Credentials {
    if profile == nil, let accessKeyID = environment["AWS_ACCESS_KEY_ID"], !accessKeyID.isEmpty {
      guard let secret = environment["AWS_SECRET_ACCESS_KEY"], !secret.isEmpty else {
        throw ObjectStoreError(
          .noCredentials, place: "environment",
          reason: "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not")
      }
      let token = environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
      return S3Credentials(accessKeyID: accessKeyID, secretAccessKey: secret, sessionToken: token)
    }
    let name = profile ?? environment["AWS_PROFILE"] ?? "default"
    let path =
      environment["AWS_SHARED_CREDENTIALS_FILE"] ?? "\(environment["HOME"] ?? "")/.aws/credentials"
    guard let text = readFile(path) else {
      throw ObjectStoreError(
        .noCredentials, place: path,
        reason:
          "AWS_ACCESS_KEY_ID is not set, and the shared credentials file with profile \(name) "
          + "cannot be read"
      )
    }
    let values = section(name, of: text)
    guard let accessKeyID = values["aws_access_key_id"],
      let secret = values["aws_secret_access_key"]
    else {
      throw ObjectStoreError(
        .noCredentials, place: path,
        reason: "profile \(name) has no aws_access_key_id and aws_secret_access_key")
    }
    return S3Credentials(
      accessKeyID: accessKeyID, secretAccessKey: secret, sessionToken: values["aws_session_token"])
  }

  private static func section(_ name: String, of text: String) -> [String: String] {
    var values: [String: String] = [:]
    var isInside = false
    for line in text.split(whereSeparator: \.isNewline) {
      let line = trimmed(line)
      if line.first == "#" || line.first == ";" { continue }
      if line.first == "[", line.last == "]" {
        isInside = trimmed(line.dropFirst().dropLast()) == name
      } else if isInside, let equals = line.firstIndex(of: "=") {
        values[trimmed(line[..<equals]).lowercased()] = trimmed(line[line.index(after: equals)...])
      }
    }
    return values
  }

  private static func trimmed(_ text: Substring) -> String {
    var text = text
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }

  private static func trimmed(_ text: String) -> String { trimmed(text[...]) }
}
