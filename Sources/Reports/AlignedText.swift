internal import Tables

/// Rows under a header, columns as wide as their widest cell, numbers to the right.
///
/// A cell of more than ``paddedWidth`` characters pads no other row.
///
/// - Parameter width: Characters that a line may have: texts are cut, the widest columns first,
///   and end in `…`, and a line that is still too long is cut as well. Nil: nothing is cut.
package func aligned(
  _ header: [String], _ rows: [[String]], numeric: Set<Int>, width: Int? = nil
) -> String {
  let all = [header] + rows
  let natural = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
  let widths =
    width.map { fitted(natural, cuttable: header.indices.filter { !numeric.contains($0) }, to: $0) }
    ?? natural.map { min($0, paddedWidth) }
  return all.map { row in
    let line = row.enumerated().map { column, cell in
      let text = width == nil ? cell : cut(cell, to: widths[column])
      let padding = String(repeating: " ", count: max(0, widths[column] - text.count))
      return numeric.contains(column) ? padding + text : text + padding
    }.joined(separator: "  ").trimmingSuffix(" ")
    return width.map { cut(line, to: $0) } ?? line
  }.joined(separator: "\n")
}

private let paddedWidth = 60

/// Widths whose sum, with two blanks between columns, is at most `limit` where that is possible.
private func fitted(_ widths: [Int], cuttable: [Int], to limit: Int) -> [Int] {
  var widths = widths
  // No column is cut below what still tells something.
  let least = 8
  while true {
    let excess = widths.reduce(0, +) + 2 * (widths.count - 1) - limit
    let wide = cuttable.filter { widths[$0] > least }
    guard excess > 0, let most = wide.map({ widths[$0] }).max() else { return widths }
    // The widest ones go down together, to the next narrower one.
    let widest = wide.filter { widths[$0] == most }
    let next = wide.map { widths[$0] }.filter { $0 < most }.max() ?? least
    let step = max(1, min(most - next, (excess + widest.count - 1) / widest.count))
    for column in widest { widths[column] = most - step }
  }
}

private func cut(_ text: String, to width: Int) -> String {
  text.count <= width ? text : text.prefix(max(0, width - 1)) + "…"
}

extension String {
  fileprivate func trimmingSuffix(_ character: Character) -> String {
    var text = self
    while text.last == character { text.removeLast() }
    return text
  }
}

/// `1 batch`, `1,000 batches`
package func counted(_ count: some BinaryInteger, _ noun: String) -> String {
  "\(grouped(Int64(count))) \(noun)\(count == 1 ? "" : noun == "batch" ? "es" : "s")"
}

/// `1,234,567`
package func grouped(_ number: Int64) -> String {
  var text = ""
  for (index, digit) in String(number.magnitude).reversed().enumerated() {
    if index > 0 && index % 3 == 0 { text.append(",") }
    text.append(digit)
  }
  return (number < 0 ? "-" : "") + String(text.reversed())
}

/// A share in percent, with at most four digits behind the point: `7`, `12.5`.
func percent(_ share: Double) -> String {
  let text = rounded(share * 100, places: 4)
  let zeros = text.reversed().prefix { $0 == "0" }.count
  return text.dropLast(zeros == 4 ? 5 : zeros).description
}

/// A time or a share with so many decimal places.
func rounded(_ value: Double, places: Int) -> String {
  DecimalText.format(
    unscaled: Int64((value * PowersOfTen.doubles[places]).rounded()), scale: places)
}
