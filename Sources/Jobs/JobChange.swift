package enum ChangeEffect: Sendable, Equatable { case harmless, renderAgain, publishAgain, refuse }
package struct JobChange: Sendable, Equatable, CustomStringConvertible {
  package let key: String
  package let effect: ChangeEffect
  package var description: String { key }
  package static func compare(old: [String: String], new: [String: String]) -> [JobChange] { [] }
}
extension Job { package var canonicalSettings: [String: String] { [:] } }
