internal import CCurl
internal import Synchronization

/// An HTTP answer, or why there was none.
enum HTTPResult {
  case answer(status: Int, headers: [String: String], body: [UInt8])
  /// libcurl's words: no connection, a time-out, a broken one.
  case noAnswer(String)
}

/// One libcurl handle, kept open from request to request; one request at a time.
/// - SeeAlso: curl.se/libcurl/c/curl_easy_setopt.html.
final class HTTPClient: @unchecked Sendable {
  // @unchecked: the handle is used under the lock only.
  private let lock = Mutex(())
  private let handle: UnsafeMutableRawPointer
  private let timeoutMilliseconds: Int64
  private let caFile: String?

  /// What keeps libcurl from being used in this process; nil when nothing does. Asked first, it loads it.
  static let obstacle: String? = tranche_curl_load().map { String(cString: $0) }

  init?(timeoutMilliseconds: Int64, caFile: String?) {
    guard Self.obstacle == nil, let handle = tranche_curl_new() else { return nil }
    self.handle = handle
    self.timeoutMilliseconds = timeoutMilliseconds
    self.caFile = caFile
  }

  deinit { tranche_curl_free(handle) }

  func send(method: String, url: String, headers: [(name: String, value: String)], body: [UInt8]) -> HTTPResult {
    lock.withLock { _ in perform(method, url, headers, body) }
  }

  private func perform(_ method: String, _ url: String, _ headers: [(name: String, value: String)], _ body: [UInt8]) -> HTTPResult {
    tranche_curl_reset(handle)
    var list: UnsafeMutablePointer<curl_slist>?
    // An empty Expect keeps libcurl from waiting for 100 Continue; it is not signed.
    for (name, value) in headers + [("Expect", "")] {
      list = tranche_curl_list_append(list, "\(name):\(value.isEmpty ? "" : " \(value)")") ?? list
    }
    defer { tranche_curl_list_free(list) }
    var exchange = Exchange(body: body)
    var errorText = [CChar](repeating: 0, count: Int(CURL_ERROR_SIZE))
    tranche_curl_set_string(handle, CURLOPT_URL, url)
    tranche_curl_set_long(handle, CURLOPT_PATH_AS_IS, 1)
    tranche_curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    tranche_curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
    tranche_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, Int(min(timeoutMilliseconds, 10_000)))
    tranche_curl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(timeoutMilliseconds))
    tranche_curl_set_long(handle, CURLOPT_TCP_NODELAY, 1)
    tranche_curl_set_string(handle, CURLOPT_USERAGENT, "tranche")
    if let caFile { tranche_curl_set_string(handle, CURLOPT_CAINFO, caFile) }
    tranche_curl_set_pointer(handle, CURLOPT_HTTPHEADER, list)
    tranche_curl_set_callback(handle, CURLOPT_WRITEFUNCTION, receiveBody)
    tranche_curl_set_callback(handle, CURLOPT_HEADERFUNCTION, receiveHeader)
    switch method {
    case "PUT":
      tranche_curl_set_long(handle, CURLOPT_UPLOAD, 1)
      tranche_curl_set_size(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(body.count))
      tranche_curl_set_callback(handle, CURLOPT_READFUNCTION, sendBody)
    case "HEAD": tranche_curl_set_long(handle, CURLOPT_NOBODY, 1)
    default: tranche_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, method)
    }
    let code = withUnsafeMutablePointer(to: &exchange) { exchange in
      for option in [CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_READDATA] { tranche_curl_set_pointer(handle, option, exchange) }
      return errorText.withUnsafeMutableBufferPointer { text in
        tranche_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, text.baseAddress)
        return tranche_curl_perform(handle)
      }
    }
    guard code == CURLE_OK else {
      let text = errorText.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
      return .noAnswer(text.isEmpty ? String(cString: tranche_curl_describe(code)) : text)
    }
    var status = 0
    tranche_curl_status(handle, &status)
    return .answer(status: status, headers: exchange.headers, body: exchange.received)
  }
}

/// What the callbacks of one request read and write.
private struct Exchange {
  let body: [UInt8]
  var sentCount = 0
  var received: [UInt8] = []
  var headers: [String: String] = [:]

  init(body: [UInt8]) { self.body = body }
}

private func receiveBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context else { return 0 }
  context.assumingMemoryBound(to: Exchange.self).pointee.received
    .append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: size * count))
  return size * count
}

private func receiveHeader(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context else { return 0 }
  let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: size * count), as: UTF8.self)
  if let colon = line.firstIndex(of: ":") {
    let value = line[line.index(after: colon)...].filter { !$0.isNewline }.drop { $0 == " " }
    context.assumingMemoryBound(to: Exchange.self).pointee.headers[line[..<colon].lowercased()] = String(value)
  }
  return size * count
}

private func sendBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context, let bytes else { return 0 }
  let exchange = context.assumingMemoryBound(to: Exchange.self)
  let from = exchange.pointee.sentCount
  let length = min(size * count, exchange.pointee.body.count - from)
  guard length > 0 else { return 0 }
  exchange.pointee.body.withUnsafeBytes {
    UnsafeMutableRawPointer(bytes).copyMemory(from: $0.baseAddress! + from, byteCount: length)
  }
  exchange.pointee.sentCount += length
  return length
}
