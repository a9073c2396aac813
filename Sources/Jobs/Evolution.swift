internal import Formats
internal import Tables
internal import Windows

/// What lies between two definitions of a job, and what its next run does about it: the one place
/// that decides which changes need no other look at what was counted.
///
/// Pure: of two definitions alone.
package struct Evolution: Sendable, Equatable {
  package let old, new: JobDefinition
  /// As they are spelled: `calls count()`, `region string?`. A measure or field that means
  /// something else under its name is in both lists.
  package let addedMeasures, removedMeasures: [String]
  package let addedFields, removedFields: [String]

  package init(from old: JobDefinition, to new: JobDefinition) {
    self.old = old
    self.new = new
    (addedMeasures, removedMeasures) = Self.difference(old.measures, new.measures)
    (addedFields, removedFields) = Self.difference(old.fieldSpellings, new.fieldSpellings)
  }

  private static func difference(
    _ old: [String], _ new: [String]
  ) -> (added: [String], removed: [String]) {
    (new.filter { !old.contains($0) }, old.filter { !new.contains($0) })
  }

  /// Whether results have other columns than before.
  package var changesMeasures: Bool { !addedMeasures.isEmpty || !removedMeasures.isEmpty }

  /// What a change of a key that is there does.
  ///
  /// - Parameter stated: What ``JobKeys`` says of the key, whatever the change is.
  func effect(
    of key: String, stated: ChangeEffect
  ) -> (ChangeEffect, obstacle: JobChange.Obstacle?) {
    if !stated.isOfDefinition { return (stated, nil) }
    if old.keepsState != new.keepsState { return (.refuse, .keepsState) }
    // Of a job that keeps no state, nothing that was counted comes together with what is to come.
    if !new.keepsState { return (.nextBatch, nil) }
    switch key {
    case "aggregate.measures": return effectOfMeasures
    case "source.fields": return effectOfFields
    default: return (.reread, nil)
    }
  }

  /// A measure that is added counts from the next batch on, and is NULL in every pane that began
  /// before.
  private var effectOfMeasures: (ChangeEffect, obstacle: JobChange.Obstacle?) {
    if let measure = addedMeasures.first, WindowText.hasOnePane(new.settings["window"] ?? "") {
      return (.reread, .measureOfGlobalWindow(name: JobDefinition.name(of: measure)))
    }
    // In another order they are other columns of the results, and the same state.
    return (changesMeasures ? .evolve : .renderAgain, nil)
  }

  /// Nothing that was counted read a field that is new, or reads one that is gone.
  private var effectOfFields: (ChangeEffect, obstacle: JobChange.Obstacle?) {
    let added = addedFields.map(JobDefinition.name)
    let removed = removedFields.map(JobDefinition.name)
    if let name = added.first(where: removed.contains) {
      return (.reread, .fieldChanged(name: name))
    }
    if new.isPositional {
      let (old, new) = (positions(old), positions(new))
      guard new.prefix(old.count).elementsEqual(old) else { return (.reread, .fieldPositions) }
    }
    if let field = addedFields.first(where: { InputField(spelling: $0)?.column.isNullable != true })
    {
      return (.reread, .fieldNotNullable(name: JobDefinition.name(of: field)))
    }
    return (addedFields.isEmpty && removedFields.isEmpty ? .harmless : .evolve, nil)
  }

  /// The fields that lie in the record.
  private func positions(_ definition: JobDefinition) -> [String] {
    definition.fieldSpellings.filter { InputField(spelling: $0)?.origin == .record }
  }
}
