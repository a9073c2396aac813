internal import Tables

/// Writes one column of one row group: chooses the encoding, cuts the rows into pages, gathers the
/// statistics.
struct ChunkWriter {
  private let definition: ColumnDefinition
  private let options: ParquetOptions
  private let physicalType: PhysicalType
  private var chunk: ColumnChunk
  private var page: [UInt8] = []

  init(_ definition: ColumnDefinition, options: ParquetOptions) {
    self.definition = definition
    self.options = options
    physicalType = PhysicalType(definition.type)
    chunk = ColumnChunk(definition: definition)
  }

  mutating func write(
    _ column: Column, _ rows: Range<Int>, _ compressor: inout Compressor, _ output: inout Output
  ) throws(ParquetError) -> ColumnChunk {
    chunk.valueCount = Int64(rows.count)
    let nullCount = definition.isNullable ? rows.reduce(0) { $0 + (column.isNull[$1] ? 1 : 0) } : 0
    chunk.statistics.nullCount = Int64(nullCount)
    do {
      switch column.type.storage {
      case .integers where column.type == .uint64:
        try Self.withPresent(column.integers, column, rows, nullCount) {
          kept throws(Compressor.Failure) in
          let values = kept.map { Int64(bitPattern: UInt64(kept: $0)) }
          try values.withUnsafeBufferPointer { values throws(Compressor.Failure) in
            try write(.integers(values, byteCount: 8), column, rows, &compressor, &output)
          }
        }
      case .integers:
        try Self.withPresent(column.integers, column, rows, nullCount) {
          values throws(Compressor.Failure) in
          let chunkValues: ChunkValues =
            if let byteCount = physicalType.byteCount {
              .integers(values, byteCount: byteCount)
            } else { .bits(values) }
          try write(chunkValues, column, rows, &compressor, &output)
        }
      case .doubles:
        try Self.withPresent(column.doubles, column, rows, nullCount) {
          values throws(Compressor.Failure) in
          try write(.doubles(values), column, rows, &compressor, &output)
        }
      case .text:
        let offsets = column.text.offsets
        var ranges: [Range<Int>] = []
        ranges.reserveCapacity(rows.count - nullCount)
        for row in rows where !column.isNull[row] { ranges.append(offsets[row]..<offsets[row + 1]) }
        let result = column.text.bytes.withUnsafeBytes { bytes in
          ranges.withUnsafeBufferPointer { ranges in
            Result { () throws(Compressor.Failure) in
              try write(
                .texts(ChunkValues.Texts(bytes: bytes, ranges: ranges)), column, rows, &compressor,
                &output)
            }
          }
        }
        try result.get()
      }
    } catch {
      throw ParquetError(code: .compressionFailed(error.reason), column: definition.name)
    }
    return chunk
  }

  /// Lends the values of the rows that are not null: in place where none is.
  private static func withPresent<Value>(
    _ values: [Value], _ column: Column, _ rows: Range<Int>, _ nullCount: Int,
    _ body: (UnsafeBufferPointer<Value>) throws(Compressor.Failure) -> Void
  ) throws(Compressor.Failure) {
    if nullCount == 0 {
      try values.withUnsafeBufferPointer { values throws(Compressor.Failure) in
        try body(UnsafeBufferPointer(rebasing: values[rows]))
      }
    } else {
      var present: [Value] = []
      present.reserveCapacity(rows.count - nullCount)
      for row in rows where !column.isNull[row] { present.append(values[row]) }
      try present.withUnsafeBufferPointer { values throws(Compressor.Failure) in try body(values) }
    }
  }

  private mutating func write(
    _ values: ChunkValues, _ column: Column, _ rows: Range<Int>, _ compressor: inout Compressor,
    _ output: inout Output
  ) throws(Compressor.Failure) {
    if let extremes = values.extremes(isUnsigned: definition.type == .uint64) {
      (chunk.statistics.min, chunk.statistics.max) = extremes
    }
    let choice = chooseEncoding(values)
    chunk.encodings = [.plain, .rle]
    switch choice {
    case .plain: chunk.encodings = [.rle, .plain]
    case .delta: chunk.encodings = [.rle, .deltaBinaryPacked]
    case .dictionary(let dictionary):
      chunk.encodings = [.plain, .rle, .rleDictionary]
      chunk.dictionaryPageOffset = output.byteCount
      page = dictionary.plain
      try writePage(
        .dictionary, valueCount: dictionary.count, encoding: .plain, &compressor, &output)
    }
    chunk.dataPageOffset = output.byteCount

    var row = rows.lowerBound
    var firstValue = 0
    repeat {
      let end = endOfPage(from: row, firstValue: firstValue, values, choice, column, rows)
      let nullCount =
        definition.isNullable ? (row..<end).reduce(0) { $0 + (column.isNull[$1] ? 1 : 0) } : 0
      let pageValues = firstValue..<firstValue + (end - row) - nullCount
      page.removeAll(keepingCapacity: true)
      if definition.isNullable { appendLevels(column, row..<end, nullCount: nullCount) }
      let encoding: Encoding
      switch choice {
      case .plain:
        encoding = .plain
        values.appendPlain(pageValues, to: &page)
      case .delta(let delta, let integers):
        encoding = .deltaBinaryPacked
        delta.append(UnsafeBufferPointer(rebasing: integers[pageValues]), to: &page)
      case .dictionary(let dictionary):
        encoding = .rleDictionary
        page.append(UInt8(dictionary.bitWidth))
        dictionary.indices.withUnsafeBufferPointer {
          appendHybrid(
            UnsafeBufferPointer(rebasing: $0[pageValues]), bitWidth: dictionary.bitWidth, to: &page)
        }
      }
      try writePage(.data, valueCount: end - row, encoding: encoding, &compressor, &output)
      chunk.dataPageCount += 1
      row = end
      firstValue = pageValues.upperBound
    } while row < rows.upperBound
  }

  private enum Choice {
    case plain
    case delta(DeltaEncoding, UnsafeBufferPointer<Int64>)
    case dictionary(ValueDictionary)
  }

  /// The encoding that takes the fewest bytes before compression; plain where it is about the same,
  /// as it compresses best.
  private func chooseEncoding(_ values: ChunkValues) -> Choice {
    guard values.count > 0 else { return .plain }
    var best = Choice.plain
    var bestByteCount = values.plainByteCount(0..<values.count)
    if let dictionary = ValueDictionary(values) {
      let byteCount = dictionary.plain.count + values.count * dictionary.bitWidth / 8
      if byteCount < bestByteCount {
        best = .dictionary(dictionary)
        bestByteCount = byteCount
      }
    }
    if case .integers(let integers, _) = values {
      let delta = DeltaEncoding(physicalType)
      if delta.estimatedByteCount(integers) < bestByteCount * 2 / 3 {
        best = .delta(delta, integers)
      }
    }
    return best
  }

  /// Pages of at most 100,000 rows, so that one is read without much memory.
  private func endOfPage(
    from row: Int, firstValue: Int, _ values: ChunkValues, _ choice: Choice, _ column: Column,
    _ rows: Range<Int>
  ) -> Int {
    let rowLimit = min(rows.upperBound, row + 100_000)
    if case .texts(let texts) = values, case .plain = choice {
      var byteCount = 0
      var value = firstValue
      for end in row..<rowLimit where !column.isNull[end] {
        byteCount += 4 + texts.ranges[value].count
        if byteCount > options.pageByteCount && end > row { return end }
        value += 1
      }
      return rowLimit
    }
    return min(rowLimit, row + max(1, options.pageByteCount / (physicalType.byteCount ?? 4)))
  }

  /// Definition levels: 1 where a value stands, 0 where it is null, with their length in front
  /// (Data Pages, version 1).
  private mutating func appendLevels(_ column: Column, _ rows: Range<Int>, nullCount: Int) {
    var levels: [UInt8] = []
    if nullCount == 0 || nullCount == rows.count {
      appendVarint(UInt64(rows.count) << 1, to: &levels)
      levels.append(nullCount == 0 ? 1 : 0)
    } else {
      let values = rows.map { column.isNull[$0] ? UInt32(0) : 1 }
      values.withUnsafeBufferPointer { appendHybrid($0, bitWidth: 1, to: &levels) }
    }
    withUnsafeBytes(of: UInt32(levels.count).littleEndian) { page.append(contentsOf: $0) }
    page.append(contentsOf: levels)
  }

  private mutating func writePage(
    _ type: PageType, valueCount: Int, encoding: Encoding, _ compressor: inout Compressor,
    _ output: inout Output
  ) throws(Compressor.Failure) {
    let compressed = try compressor.compress(page)
    var header = ThriftWriter()
    writePageHeader(
      type, valueCount: valueCount, encoding: encoding, uncompressedByteCount: page.count,
      compressedByteCount: compressed.count,
      to: &header)
    output.write(header.bytes)
    output.write(compressed)
    chunk.uncompressedByteCount += Int64(header.bytes.count + page.count)
    chunk.compressedByteCount += Int64(header.bytes.count + compressed.count)
  }
}
