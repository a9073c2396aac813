internal import Checkpoints
internal import Engine
internal import ObjectStorage

/// Whose a destination is, and stores that do not do as asked.
extension Words {
  func text(of fault: DestinationFault) -> String {
    let (adopt, unwritten) = (commands.decide(.adopt), "Nothing was written there")
    switch fault.problem {
    case .refused(.otherJob(let marker)) where marker.job == fault.job:
      return sentence(
        "\(fault.location): another checkpoint of this job wrote these results "
          + "(\(marker.checkpoint))", unwritten,
        "If this job's state lies in another folder, name it with \(commands.checkpointFolder)")
        + " If that state is lost or no longer needed, take the destination over with "
        + "this new one: \(adopt)"
    case .refused(.otherJob(let marker)):
      return sentence(
        "\(fault.location): this destination belongs to the job \(marker.job) (checkpoint "
          + "\(marker.checkpoint))", unwritten)
        + " Give this job another output.to; or, if that job has ended for good, take the "
        + "destination over: \(adopt)"
    case .refused(.olderOrCopy):
      return sentence(
        "\(fault.location): a newer state of this checkpoint wrote these results: this file is a "
          + "restored backup, or a copy of one that is in use elsewhere", unwritten)
        + " If this is the one to go on with, stop the other one and run: "
        + commands.decide(.goOnRestored)
    case .refused(.unreadableMarker):
      return sentence(
        "\(fault.location): the marker \(ObjectKeys.owner) there was not written by Tranche",
        unwritten)
        + " Give this job another output.to; or take the destination over: \(adopt)"
    case .refused(.strangeObjects(let keys)):
      return sentence(
        "\(fault.location): does not hold what this job published: \(list(keys)) "
          + "\(keys.count == 1 ? "is" : "are") missing or different", unwritten,
        "Is output.to right, and relative to the right folder?")
        + " To write every object again: \(adopt)"
    case .refused(.occupiedKeys(let keys)):
      return sentence(
        "\(fault.location): holds objects that this checkpoint did not write, at keys that it "
          + "would replace: \(list(keys))", unwritten)
        + " Give this job another output.to; or replace them: \(adopt)"
    case .overtaken(let marker):
      let other =
        marker.map { "the job \($0.job), checkpoint \($0.checkpoint)" }
        ?? "a run whose marker cannot be read"
      return sentence(
        "\(fault.location): another run marked this destination while this run wrote to it: "
          + "\(other). Each may have replaced objects of the other")
        + " Give one of the two jobs another output.to. Then, for the job that stays, write every "
        + "window's object again: \(adopt)"
    case .markerGone:
      return sentence(
        "\(fault.location): the marker \(ObjectKeys.owner) that this run wrote is gone",
        "Something else deletes objects there", "The run wrote nothing more",
        "Find what deletes them, and run again")
    case .noMarkerOfOurs:
      return sentence("\(fault.location): this checkpoint has no marker there")
        + " If no other job uses the destination, take it over: \(adopt)"
    case .newerStateOfOurs:
      return sentence(
        "\(fault.location): a newer state of this checkpoint wrote these results, not another job")
        + " If this checkpoint is to go on: \(commands.decide(.goOnRestored))"
    case .anothers(let marker):
      return sentence(
        "\(fault.location): this destination belongs to another checkpoint, of the job "
          + marker.job
      )
        + " To take it over: \(adopt)"
    }
  }

  func remedy(_ error: ObjectStoreError) -> String {
    let kept = "What is not published stays in the checkpoint; run again"
    return switch error.code {
    case .unreachable: "Is the store up, and is output.s3.endpoint right? \(kept)"
    case .serverError: "The store reported an internal error. \(kept)"
    case .refused:
      "Check the credentials (temporary ones expire) and their right to put, get and delete "
        + "objects there. Without the right to list the bucket, S3 does not say that an object is "
        + "missing"
    case .noSuchBucket: "Create the bucket, or correct output.to; Tranche never creates one"
    case .full: "Free space, then run again"
    case .readOnly: "Make the folder writable, or name another in output.to"
    case .badRequest: "Check output.to, output.s3.region and output.s3.addressing"
    case .badCredentials:
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile in output.s3.credentials"
    case .inputOutput: "Check the disk, then run again"
    case .held:
      "Try again when that run has ended. Two jobs never share a destination: give each its "
        + "own output.to"
    case .tooLarge: "Tranche never writes an object this large there. Inspect it, then move it away"
    }
  }
}
