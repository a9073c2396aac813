internal import Tables

/// Rows under a header, columns as wide as their widest cell, numbers to the right.
package func aligned(_ header: [String], _ rows: [[String]], numeric: Set<Int>) -> String {
  let all = [header] + rows
  let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
  return all.map { row in
    row.enumerated().map { column, cell in
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      return numeric.contains(column) ? padding + cell : cell + padding
    }.joined(separator: "  ").trimmingSuffix(" ")
  }.joined(separator: "\n")
}

extension String {
  fileprivate func trimmingSuffix(_ character: Character) -> String {
    var text = self
    while text.last == character { text.removeLast() }
    return text
  }
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
