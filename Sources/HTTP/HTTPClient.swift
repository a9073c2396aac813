internal import CCurl
internal import Synchronization

package enum HTTPMethod: String, Sendable {
  case get = "GET"
  case head = "HEAD"
  case put = "PUT"
  case delete = "DELETE"
}

package struct HTTPRequest: Sendable {
  package var method: HTTPMethod
  package var url: String
  package var headers: [(name: String, value: String)]
  package var body: [UInt8]
  /// Most bytes of the body of a 2xx answer; of any other ``HTTPLimits/errorByteCount``.
  package var bodyByteLimit: Int

  package init(
    _ method: HTTPMethod, url: String, headers: [(name: String, value: String)] = [],
    body: [UInt8] = [], bodyByteLimit: Int = HTTPLimits.errorByteCount
  ) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
    self.bodyByteLimit = bodyByteLimit
  }
}

/// An HTTP answer, or why there was none.
package enum HTTPResult: Sendable {
  /// Of a body that is longer than it may be only the beginning is kept, and `isWhole` is false.
  case answer(status: Int, headers: [String: String], body: [UInt8], isWhole: Bool)
  case noAnswer(HTTPFailure)
}

/// Why a request got no answer.
package struct HTTPFailure: Sendable, Equatable {
  package enum Kind: Sendable {
    /// No connection, a time-out, a broken one: another attempt may do.
    case connection
    /// The two sides do not trust each other, or do not agree on TLS. Nothing was sent.
    case tls
    /// The request itself is at fault. Nothing was sent.
    case request
  }
  package let kind: Kind
  /// libcurl's words, or ours.
  package let words: String

  package init(_ kind: Kind, _ words: String) {
    self.kind = kind
    self.words = words
  }
}

/// How much is sent and read. The time-out of an attempt ends an answer that comes slowly.
package enum HTTPLimits {
  /// Of the address and all header lines of a request; servers take some 8 KiB to 64 KiB.
  package static let requestHeaderByteCount = 64 << 10
  /// Of all header lines of an answer, those of 1xx answers before it and trailers included.
  package static let headerByteCount = 64 << 10
  /// Of a body that the caller does not need: an error, or the answer to a PUT.
  package static let errorByteCount = 64 << 10
}

/// Sends requests over connections that are kept open, one request at a time. It follows no
/// redirect, repeats no request, and bounds every part of an answer.
package final class HTTPClient: Sendable {
  private let handle: Mutex<EasyHandle>
  private let timeoutMilliseconds: Int64
  private let caFile: String?

  /// What keeps libcurl from being used in this process; nil when nothing does. Asked first, it
  /// loads it.
  package static var obstacle: String? { EasyHandle.obstacle }

  /// Nil where there is an ``obstacle``, or no memory.
  ///
  /// - Parameter timeoutMilliseconds: For one request and its answer.
  package init?(timeoutMilliseconds: Int64, caFile: String?) {
    guard let handle = EasyHandle() else { return nil }
    self.handle = Mutex(handle)
    self.timeoutMilliseconds = timeoutMilliseconds
    self.caFile = caFile
  }

  /// Sends a request and reads its answer. Redirects are answers like others.
  package func send(_ request: HTTPRequest) -> HTTPResult {
    // A line end in a value would begin a header of its own.
    let texts = request.headers.flatMap { [$0.name, $0.value] } + [request.url]
    for text in texts where text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
      return .noAnswer(
        HTTPFailure(.request, "not sent: a header or the address holds a control character"))
    }
    guard texts.reduce(0, { $0 + $1.utf8.count }) <= HTTPLimits.requestHeaderByteCount else {
      return .noAnswer(
        HTTPFailure(
          .request,
          "not sent: the address and the headers are longer than "
            + "\(HTTPLimits.requestHeaderByteCount) bytes"))
    }
    // An empty Expect keeps libcurl from waiting for 100 Continue.
    guard let headers = HeaderList(request.headers + [("Expect", "")]) else {
      return .noAnswer(HTTPFailure(.connection, "not sent: no memory for the headers"))
    }
    var exchange = Exchange(body: request.body, bodyByteLimit: request.bodyByteLimit)
    let (status, failure) = handle.withLock { handle in
      prepare(&handle, request)
      return handle.perform(headers, &exchange)
    }
    if exchange.headerByteCount > HTTPLimits.headerByteCount {
      return .noAnswer(
        HTTPFailure(
          .connection,
          "the header of the answer is longer than \(HTTPLimits.headerByteCount) bytes"))
    }
    // A body that is too long ends the request by our own refusal to take more.
    if let failure, !exchange.isTooLong { return .noAnswer(failure) }
    return .answer(
      status: status, headers: exchange.headers, body: exchange.received,
      isWhole: !exchange.isTooLong)
  }

  private func prepare(_ handle: inout EasyHandle, _ request: HTTPRequest) {
    handle.reset()
    handle.set(CURLOPT_URL, to: request.url)
    handle.set(CURLOPT_PATH_AS_IS, to: 1)
    handle.set(CURLOPT_NOSIGNAL, to: 1)
    handle.set(CURLOPT_PROTOCOLS_STR, to: "http,https")
    handle.set(CURLOPT_CONNECTTIMEOUT_MS, to: Int(min(timeoutMilliseconds, 10_000)))
    handle.set(CURLOPT_TIMEOUT_MS, to: Int(timeoutMilliseconds))
    handle.set(CURLOPT_TCP_NODELAY, to: 1)
    handle.set(CURLOPT_USERAGENT, to: "tranche")
    if let caFile { handle.set(CURLOPT_CAINFO, to: caFile) }
    handle.set(CURLOPT_WRITEFUNCTION, to: receiveBody)
    handle.set(CURLOPT_HEADERFUNCTION, to: receiveHeader)
    switch request.method {
    case .put:
      handle.set(CURLOPT_UPLOAD, to: 1)
      handle.setUploadSize(request.body.count)
      handle.set(CURLOPT_READFUNCTION, to: sendBody)
    case .head: handle.set(CURLOPT_NOBODY, to: 1)
    case .get, .delete: handle.set(CURLOPT_CUSTOMREQUEST, to: request.method.rawValue)
    }
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
    let limit = isSuccess ? bodyByteLimit : HTTPLimits.errorByteCount
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
