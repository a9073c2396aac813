internal import CCurl
internal import Synchronization

/// An HTTP answer, or why there was none.
enum HTTPResult {
  /// Of a body that is longer than it may be only the beginning is kept, and `isWhole` is false.
  case answer(status: Int, headers: [String: String], body: [UInt8], isWhole: Bool)
  /// libcurl's words: no connection, a time-out, a broken one; or ours.
  case noAnswer(String)
}

/// How much of an answer is read. The time-out of an attempt ends one that comes slowly.
enum HTTPLimits {
  /// Of all header lines of an answer, those of 1xx answers before it and trailers included.
  static let headerByteCount = 64 << 10
  /// Of a body whose content nobody asked for: an error, or what a server says to a PUT.
  static let errorByteCount = 64 << 10
  /// Of one page of a listing: 1,000 keys of 1,024 bytes, every byte escaped.
  static let listingByteCount = 8 << 20
}

/// One libcurl handle, kept open from request to request; one request at a time.
/// - SeeAlso: curl.se/libcurl/c/curl_easy_setopt.html.
final class HTTPClient: @unchecked Sendable {
  // @unchecked: the handle is used under the lock only.
  private let lock = Mutex(())
  private let handle: UnsafeMutableRawPointer
  private let timeoutMilliseconds: Int64
  private let caFile: String?

  /// What keeps libcurl from being used in this process; nil when nothing does. Asked first, it
  /// loads it.
  static let obstacle: String? = tranche_curl_load().map { String(cString: $0) }

  init?(timeoutMilliseconds: Int64, caFile: String?) {
    guard Self.obstacle == nil, let handle = tranche_curl_new() else { return nil }
    self.handle = handle
    self.timeoutMilliseconds = timeoutMilliseconds
    self.caFile = caFile
  }

  deinit { tranche_curl_free(handle) }

  /// Sends a request and reads its answer. Redirects are answers like others: they are not
  /// followed.
  ///
  /// - Parameter bodyByteLimit: Most bytes of the body of a 2xx answer; of any other
  ///   ``HTTPLimits/errorByteCount``.
  func send(
    method: String, url: String, headers: [(name: String, value: String)], body: [UInt8],
    bodyByteLimit: Int = HTTPLimits.errorByteCount
  ) -> HTTPResult {
    lock.withLock { _ in perform(method, url, headers, body, bodyByteLimit) }
  }

  private func perform(
    _ method: String, _ url: String, _ headers: [(name: String, value: String)], _ body: [UInt8],
    _ bodyByteLimit: Int
  ) -> HTTPResult {
    // A line end in a value would begin a header of its own.
    for text in headers.flatMap({ [$0.name, $0.value] }) + [url]
    where text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
      return .noAnswer("not sent: a header or the address holds a control character")
    }
    tranche_curl_reset(handle)
    var list: UnsafeMutablePointer<curl_slist>?
    // An empty Expect keeps libcurl from waiting for 100 Continue; it is not signed.
    for (name, value) in headers + [("Expect", "")] {
      list = tranche_curl_list_append(list, "\(name):\(value.isEmpty ? "" : " \(value)")") ?? list
    }
    defer { tranche_curl_list_free(list) }
    var exchange = Exchange(body: body, bodyByteLimit: bodyByteLimit)
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
      for option in [CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_READDATA] {
        tranche_curl_set_pointer(handle, option, exchange)
      }
      return errorText.withUnsafeMutableBufferPointer { text in
        tranche_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, text.baseAddress)
        return tranche_curl_perform(handle)
      }
    }
    if exchange.headerByteCount > HTTPLimits.headerByteCount {
      return .noAnswer(
        "the header of the answer is longer than \(HTTPLimits.headerByteCount) bytes")
    }
    guard code == CURLE_OK || exchange.isTooLong else {
      let text = errorText.withUnsafeBufferPointer {
        $0.baseAddress.map { String(cString: $0) } ?? ""
      }
      return .noAnswer(text.isEmpty ? String(cString: tranche_curl_describe(code)) : text)
    }
    var status = 0
    tranche_curl_status(handle, &status)
    return .answer(
      status: status, headers: exchange.headers, body: exchange.received,
      isWhole: !exchange.isTooLong)
  }
}

/// What the callbacks of one request read and write.
private struct Exchange {
  let body: [UInt8]
  var sentCount = 0
  var received: [UInt8] = []
  var headers: [String: String] = [:]
  var headerByteCount = 0
  /// Whether there was more of the body than may be kept.
  var isTooLong = false
  /// From the last status line.
  private var isSuccess = false
  private let bodyByteLimit: Int

  init(body: [UInt8], bodyByteLimit: Int) {
    self.body = body
    self.bodyByteLimit = bodyByteLimit
  }

  /// - Returns: How many of the bytes were taken; fewer than all end the request.
  mutating func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
    let limit = isSuccess ? bodyByteLimit : min(bodyByteLimit, HTTPLimits.errorByteCount)
    let taken = min(bytes.count, limit - received.count)
    received.append(contentsOf: bytes.prefix(taken))
    isTooLong = isTooLong || taken < bytes.count
    return taken
  }

  /// - Returns: As ``receive(_:)``.
  mutating func receive(headerLine bytes: UnsafeRawBufferPointer) -> Int {
    headerByteCount += bytes.count
    guard headerByteCount <= HTTPLimits.headerByteCount else { return 0 }
    let line = String(decoding: bytes, as: UTF8.self)
    if line.hasPrefix("HTTP/") {
      // Another answer begins: those before it were 1xx.
      headers = [:]
      isSuccess = line.split(separator: " ").dropFirst().first?.hasPrefix("2") == true
    } else if let colon = line.firstIndex(of: ":") {
      let value = line[line.index(after: colon)...].filter { !$0.isNewline }.drop { $0 == " " }
      headers[line[..<colon].lowercased()] = String(value)
    }
    return bytes.count
  }
}

private func receiveBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context else { return 0 }
  return context.assumingMemoryBound(to: Exchange.self).pointee.receive(
    UnsafeRawBufferPointer(start: bytes, count: size * count))
}

private func receiveHeader(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context else { return 0 }
  return context.assumingMemoryBound(to: Exchange.self).pointee
    .receive(headerLine: UnsafeRawBufferPointer(start: bytes, count: size * count))
}

private func sendBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int,
  _ context: UnsafeMutableRawPointer?
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
