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
    case .objectsAhead(let keys, let nextBatch, let isRestored):
      return sentence(
        "\(fault.location): holds \(keys.count) "
          + (keys.count == 1 ? "object" : "objects") + " of batches that this checkpoint "
          + "has not committed, as its next batch is \(nextBatch): \(list(keys))",
        "Their rows would stand there twice", "Nothing was changed")
        + " To let the next run delete them first: "
        + commands.decide(.deleteObjectsAhead(isRestored: isRestored))
    case .anothers(let marker):
      return sentence(
        "\(fault.location): this destination belongs to another checkpoint, of the job "
          + marker.job
      )
        + " To take it over: \(adopt)"
    }
  }

  func text(of fault: BackupFault) -> String {
    let problem =
      fault.isMade ? "the backup is made, and older ones were not removed" : "there is no backup"
    let remedy = remedy(ofCause: fault) ?? "Correct the cause, or name another place"
    return sentence(
      "\(fault.place): \(problem): \(cause(of: fault))",
      "The job's state and results are as they were",
      remedy, "The next \(fault.isMade ? "backup" : "run or the same command") tries again")
  }

  /// Where it does not speak of results: what was committed and published stands.
  private func remedy(ofCause fault: BackupFault) -> String? {
    guard case .store(let error) = RunError(wrapping: fault.cause),
      case .answer(let answer) = error.code
    else { return nil }
    switch answer.meaning {
    case .expired, .unknownKey, .wrongSecret, .wrongClock, .forbidden, .encryptionKey, .otherRegion,
      .unsupported, .foreign:
      return remedy(answer)
    case .busy, .failing, .conflict, .redirected, .damaged, .noBucket, .badName, .noChecksum,
      .tooLarge, .full, .archived, .other:
      return nil
    }
  }

  private func cause(of fault: BackupFault) -> String {
    switch RunError(wrapping: fault.cause) {
    case .checkpoint(let error): error.description
    case .store(let error): error.reason
    case let error: text(of: error)
    }
  }

  func remedy(_ error: ObjectStoreError) -> String {
    switch error.code {
    case .unreachable: "Is the store up, and is output.s3.endpoint right? \(Self.kept)"
    case .tls:
      "Does output.s3.endpoint speak HTTPS, with a certificate for that name that has not expired? "
        + "If its authority is your own, name the authority's PEM file in output.s3.ca_file"
    case .answer(let answer): remedy(answer)
    case .noCredentials:
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile in output.s3.credentials"
    case .badCredentials: "Correct it where it is kept. Line ends around it do no harm"
    case .badRequest:
      "Check output.to, output.s3.endpoint, output.s3.region and output.s3.addressing"
    case .refused: "Let this user write there, or name another folder in output.to"
    case .full: "Free space, then run again"
    case .readOnly: "Make the folder writable, or name another in output.to"
    case .inputOutput: "Check the disk, then run again"
    case .held:
      "Try again when that run has ended. Two jobs never share a destination: give each its "
        + "own output.to"
    case .tooLarge: "Tranche never writes an object this large there. Inspect it, then move it away"
    }
  }

  private static let kept = "What is not published stays in the checkpoint; run again"

  /// What to do about an answer of an S3 server.
  private func remedy(_ answer: S3Answer) -> String {
    switch answer.meaning {
    case .busy: "The store has too much to do. \(Self.kept)"
    case .failing: "The store reported an internal error. \(Self.kept)"
    case .conflict: "Something else changes the same object or bucket now. \(Self.kept)"
    case .redirected:
      "The store sends requests elsewhere for now, as for a new bucket. \(Self.kept) later. If it "
        + "stays so, set output.s3.region, and output.s3.endpoint if it is set, to the bucket's"
    case .damaged:
      "Something between here and the store changes requests or cuts them off. \(Self.kept)"
    case .expired: "The temporary credentials have expired. Get new ones, then run again"
    case .unknownKey:
      "The store does not know these credentials. Check the access key, the session token if there "
        + "is one, and whether output.s3.endpoint is the store that they are for"
    case .wrongSecret:
      "The secret access key does not belong to the access key, or a proxy changes requests. "
        + "Check the credentials"
    case .wrongClock: "Set this machine's clock, then run again"
    case .forbidden: "Give these credentials the right \(answer.request.right) there" + hint(answer)
    case .encryptionKey:
      "Enable the key that encrypts the bucket, and let these credentials use it "
        + "(kms:GenerateDataKey, kms:Decrypt)"
    case .otherRegion:
      if let region = answer.region {
        "Set output.s3.region: \(region), and output.s3.endpoint, if it is set, to that region's"
      } else {
        "Set output.s3.region, and output.s3.endpoint if it is set, to the bucket's"
      }
    case .noBucket: "Create the bucket, or correct output.to; Tranche never creates one"
    case .badName: "Correct output.to"
    case .noChecksum:
      "Tranche sends Content-MD5 where a store asks for a checksum, and this bucket asks for "
        + "another. Name a bucket in output.to that does not"
    case .tooLarge:
      "Make objects smaller with narrower windows or fewer groups, or raise the store's limit"
    case .full: "Free space in the store or raise its quota, then run again"
    case .archived:
      "Restore the object from the archive, and exclude output.to from the rule that archives "
        + "objects"
    case .unsupported, .foreign:
      "Is output.s3.endpoint the address of an S3 server, and not of a proxy, a login page or a "
        + "console?"
    case .other: "Check output.to, output.s3.region and output.s3.addressing"
    }
  }

  /// What a person may not know about the right that is missing.
  private func hint(_ answer: S3Answer) -> String {
    switch answer.request {
    case .get, .head:
      ". Without s3:ListBucket on the bucket, S3 refuses to say that an object does not exist"
    case .put, .delete, .list: ""
    }
  }
}
