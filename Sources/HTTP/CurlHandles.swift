internal import CCurl

/// One libcurl easy handle; freed with its connections.
///
/// @unchecked: libcurl lets any thread use a handle, one at a time (libcurl-thread(3)), and every
/// use here is mutating, which Swift lets one at a time have.
/// - SeeAlso: curl.se/libcurl/c/curl_easy_setopt.html.
struct EasyHandle: ~Copyable, @unchecked Sendable {
  private let raw: UnsafeMutableRawPointer

  /// What keeps libcurl from being used in this process; nil when nothing does. Asked first, it
  /// loads it.
  static let obstacle: String? = tranche_curl_load().map { String(cString: $0) }

  init?() {
    guard Self.obstacle == nil, let raw = tranche_curl_new() else { return nil }
    self.raw = raw
  }

  deinit { tranche_curl_free(raw) }

  /// Forgets all options and keeps the connections.
  mutating func reset() { tranche_curl_reset(raw) }

  mutating func set(_ option: CURLoption, to value: Int) {
    tranche_curl_set_long(raw, option, value)
  }

  /// libcurl copies the text.
  mutating func set(_ option: CURLoption, to value: String) {
    tranche_curl_set_string(raw, option, value)
  }

  /// How many bytes an upload has.
  mutating func setUploadSize(_ byteCount: Int) {
    tranche_curl_set_size(raw, CURLOPT_INFILESIZE_LARGE, curl_off_t(byteCount))
  }

  mutating func set(_ option: CURLoption, to callback: tranche_curl_callback) {
    tranche_curl_set_callback(raw, option, callback)
  }

  /// Sends the request with these headers; the callbacks are given the exchange.
  ///
  /// - Returns: The answer's status; or why there is none, in libcurl's words.
  mutating func perform<Exchange>(
    _ headers: borrowing HeaderList, _ exchange: inout Exchange
  ) -> (status: Int, failure: HTTPFailure?) {
    var errorText = [CChar](repeating: 0, count: Int(CURL_ERROR_SIZE))
    let code = headers.withPointer { list in
      withUnsafeMutablePointer(to: &exchange) { exchange in
        errorText.withUnsafeMutableBufferPointer { text in
          tranche_curl_set_pointer(raw, CURLOPT_HTTPHEADER, list)
          for option in [CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_READDATA] {
            tranche_curl_set_pointer(raw, option, exchange)
          }
          tranche_curl_set_pointer(raw, CURLOPT_ERRORBUFFER, text.baseAddress)
          defer {
            // What is lent for this call only.
            for option in [
              CURLOPT_HTTPHEADER, CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_READDATA,
              CURLOPT_ERRORBUFFER,
            ] { tranche_curl_set_pointer(raw, option, nil) }
          }
          return tranche_curl_perform(raw)
        }
      }
    }
    var status = 0
    tranche_curl_status(raw, &status)
    if code == CURLE_OK { return (status, nil) }
    let text = errorText.withUnsafeBufferPointer {
      $0.baseAddress.map { String(cString: $0) } ?? ""
    }
    let words = text.isEmpty ? String(cString: tranche_curl_describe(code)) : text
    return (status, HTTPFailure(Self.kind(of: code, words), words))
  }

  /// The address, the other side's certificate, our list of authorities, and a handshake that does
  /// not come about stay as they are when they are tried again; a connection that breaks off in the
  /// middle of a handshake is one like others.
  private static func kind(of code: CURLcode, _ words: String) -> HTTPFailure.Kind {
    switch code {
    case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL: return .request
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
      CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_CRL_BADFILE, CURLE_SSL_INVALIDCERTSTATUS,
      CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_CLIENTCERT:
      return .tls
    case CURLE_SSL_CONNECT_ERROR:
      let brokenOff = ["reset", "SYSCALL", "unexpected eof", "timed out", "timeout"]
      return brokenOff.contains(where: words.contains) ? .connection : .tls
    default: return .connection
    }
  }
}

/// The header lines of one request.
struct HeaderList: ~Copyable {
  private let first: UnsafeMutablePointer<curl_slist>?

  /// Nil where there is no memory for it.
  init?(_ headers: [(name: String, value: String)]) {
    var list: UnsafeMutablePointer<curl_slist>?
    for (name, value) in headers {
      let line = "\(name):\(value.isEmpty ? "" : " \(value)")"
      guard let longer = tranche_curl_list_append(list, line) else {
        tranche_curl_list_free(list)
        return nil
      }
      list = longer
    }
    first = list
  }

  deinit { tranche_curl_list_free(first) }

  borrowing func withPointer<Result>(
    _ body: (UnsafeMutablePointer<curl_slist>?) -> Result
  ) -> Result { body(first) }
}
