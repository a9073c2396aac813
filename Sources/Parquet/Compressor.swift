internal import CZstd

/// Compresses pages with one zstd context, whose memory is used again.
struct Compressor: ~Copyable {
  /// Nil where pages are not compressed.
  private let context: OpaquePointer?
  private let level: Int32
  private var buffer: [UInt8] = []

  struct Failure: Error { let reason: String }

  init(_ compression: ParquetOptions.Compression) {
    switch compression {
    case .none:
      context = nil
      level = 0
    case .zstd(let level):
      guard let context = ZSTD_createCCtx() else {
        preconditionFailure("no memory for a zstd context")
      }
      self.context = context
      self.level = level
    }
  }

  deinit { ZSTD_freeCCtx(context) }

  /// The page as it stands in the file.
  mutating func compress(_ page: [UInt8]) throws(Failure) -> [UInt8] {
    guard let context else { return page }
    let bound = ZSTD_compressBound(page.count)
    if buffer.count < bound { buffer = [UInt8](repeating: 0, count: bound) }
    let level = level
    let count = buffer.withUnsafeMutableBytes { target in
      page.withUnsafeBytes {
        ZSTD_compressCCtx(
          context, target.baseAddress, target.count, $0.baseAddress, $0.count, level)
      }
    }
    guard ZSTD_isError(count) == 0 else {
      throw Failure(reason: String(cString: ZSTD_getErrorName(count)))
    }
    return Array(buffer[..<count])
  }
}

extension ParquetEncoder {
  /// Of the library that compresses; the same table gives the same bytes for the same version.
  package static var zstdVersion: String { String(cString: ZSTD_versionString()) }
}
