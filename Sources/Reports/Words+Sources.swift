internal import Checkpoints
package import Engine
internal import Escaping
internal import Offsets

/// What to do about clusters and checkpoints; their errors say themselves what happened and where.
extension Words {
  func remedy(_ error: SourceError) -> String {
    if let cause = error.cause { return remedy(cause) }
    return switch error.code {
    case .unreachable:
      "Are the brokers up, and is bootstrap.servers right? The run can be tried again"
    case .refused: "Check the source's security properties and the rights of its user"
    case .unknownTopic: "Check the name, or create the topic; Tranche never creates one by reading"
    case .truncated:
      "Set source.on_data_loss: skip to record a gap and go on, or restore the data"
    case .beyondEnd:
      "The topic was deleted and made again, or the broker lost data. Restore the topic; or, to "
        + "start over, give the job a new name and another output.to"
    case .undecodable: "Restore the messages from another copy of the topic, or pass over them"
    case .misconfigured: "Correct the source's properties"
    case .lackOfResources: lackOfResourcesRemedy
    case .other: "Look at the broker's log, and try again"
    }
  }

  /// Why a group does not show a job's progress; for a run that went well all the same.
  package func text(of warning: ProgressNotShown) -> String {
    let (name, group) = (ForeignText.quoted(warning.group), "source.commit_group")
    let place = "source \(warning.source), group \(name)"
    let effect = "The job's progress is not shown there"
    switch warning.problem {
    case .refused(.isInUse):
      return sentence(
        "\(place): consumers take part in it", effect, "Name a group of the job's own in \(group)")
    case .refused(.isAnothers(let partition, let metadata)):
      let mark = metadata.isEmpty ? "nothing" : "\"\(ForeignText.quoted(metadata))\""
      return sentence(
        "\(place): the offset of \(partition) is not this job's: beside it stands \(mark)", effect,
        "Name a group of the job's own in \(group); or, if nobody needs its offsets, delete it: "
          + "kafka-consumer-groups --delete --group \(name)")
    case .source(let error):
      let rights = "Give the source's user the right to read the group, or leave out \(group)"
      let isRight = error.code == .refused && error.cause == nil
      return sentence(error.description, effect, isRight ? rights : remedy(error))
    }
  }

  private func remedy(_ cause: SourceError.Cause) -> String {
    switch cause {
    case .advertisedAddress:
      "Is that broker up, and may this machine reach it (DNS, firewall)? If clients here need "
        + "another address, set advertised.listeners at the broker"
    case .silent: "Is it the port of a broker, and is the broker well? The run can be tried again"
    case .closedAtOnce:
      "A broker that speaks TLS does so: then set security.protocol to ssl or sasl_ssl. Else: is "
        + "it the port of a broker?"
    case .wantsLogin:
      "Set security.protocol to sasl_ssl or sasl_plaintext, with sasl.mechanism, sasl.username and "
        + "sasl.password; or try again if the broker was restarted"
    case .notKafka: "Write the brokers' own port in bootstrap.servers"
    case .answerTooLarge: "Raise receive.message.max.bytes in the source's properties"
    case .speaksTLS: "Set security.protocol to ssl or sasl_ssl, or use the port without TLS"
    case .speaksNoTLS:
      "Set security.protocol to plaintext or sasl_plaintext, or use the port that speaks TLS"
    case .closedInHandshake:
      "Try again if the broker was restarted. If its port does not speak TLS, set "
        + "security.protocol to plaintext or sasl_plaintext, or use the port that speaks TLS"
    case .unverifiedCertificate:
      "Set ssl.ca.location to a PEM file with the certificate of the brokers' CA, and use the host "
        + "name that the certificate bears"
    case .clientCertificate:
      "If the brokers want a certificate of the client, set ssl.certificate.location and "
        + "ssl.key.location"
    case .mechanism: "Set sasl.mechanism to one that is offered"
    case .login: "Correct sasl.username and sasl.password, or the user's rights at the brokers"
    case .token: "Check sasl.oauthbearer.token.endpoint.url, client.id and client.secret"
    case .tokenServer:
      "Is the server of sasl.oauthbearer.token.endpoint.url up, and may this machine reach it? The "
        + "run can be tried again"
    }
  }

  var lackOfResourcesRemedy: String {
    "Raise the limits on threads, memory and open files (ulimit -u, -v, -n; TasksMax, MemoryMax "
      + "and LimitNOFILE of a systemd unit; those of a container), or end other processes. The run "
      + "can be tried again"
  }

  func text(of error: CheckpointError) -> String {
    if case .jobChanged(let changes) = error.code {
      return sentence(error.description) + " " + choices(for: changes)
    }
    let text = sentence(error.description, remedy(error))
    return switch error.code {
    case .corrupt:
      text + " Then let the new state take over the destination: "
        + commands.decide(.adopt)
    case .wrongCluster:
      text + " Or start over from source.start on: " + commands.decide(.startOver)
    default: text
    }
  }

  func remedy(_ error: CheckpointError) -> String {
    let folder = commands.checkpointFolder
    let unchanged = "Nothing was changed"
    let uncommitted = "Nothing of the batch was committed"
    return switch error.code {
    case .locked: "Try again when it has ended"
    case .unusableFolder: "Make the folder writable, or name another one with \(folder)"
    case .networkFileSystem: "Put checkpoints on a local disk, with \(folder)"
    case .noPermission:
      "Run as that user, or let this one in with chmod and chgrp; the files of new checkpoints get "
        + "other rights with \(commands.fileMode)"
    case .notRegular: "\(unchanged). Move it away, or name another folder with \(folder)"
    case .removed:
      "\(uncommitted). If the file was moved, put it back, with its -wal and -shm, and run again"
    case .noCheckpoint: "Run the job once first"
    case .exists: "\(unchanged). To put it aside for another one, import that one with --replace"
    case .corrupt:
      "\(unchanged). Restore it from a copy. Or move it away, with its -wal and -shm, to read the "
        + "topics anew"
    case .leftover: "Move it too, or delete it if that checkpoint is no longer needed"
    case .foreign: "\(unchanged). Move the file away, or name another folder with \(folder)"
    case .newer: "\(unchanged). Install that release or a later one"
    case .otherJob: "Give this job another name, or name another folder with \(folder)"
    case .jobChanged(let changes): choices(for: changes)
    case .resultsWait:
      "Set it back, run the job until nothing is left unpublished, and change it then"
    case .objectsStay:
      "\(unchanged). Give the job another output.to first, or let the first run delete them: "
        + commands.decide(.startOverAndDelete)
    case .wrongCluster:
      "Point bootstrap.servers at the old cluster"
    case .full: "\(uncommitted). Free space, and run again"
    case .inputOutput:
      "\(uncommitted). Free space, or look at the disk (dmesg), and run again"
    case .readOnly: "Make the file and its folder writable, or name another folder with \(folder)"
    case .busy: "Close what has it open, and run again"
    case .overflow, .database: uncommitted
    case .tooManyGroups: "\(uncommitted). Raise the limit, or group by less"
    case .invariant:
      "\(uncommitted). This is a fault of Tranche, or somebody edited the checkpoint"
    }
  }
}
