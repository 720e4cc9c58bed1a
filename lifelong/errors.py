"""Every way the loop can fail, drawn as a tree; which failures are worth a retry.

LifelongError                        retryable = False; message: what, where, what to do
├─ ConfigError                       file, key, value
├─ RecordError                       a record or artefact breaks its own promise
│  ├─ LabelMapError                  unknown class, other digest (never painted as class 0)
│  │  └─ LabelMapChangeError         nobody said how one label map became the other
│  ├─ ShapeError                     expected … got …
│  ├─ ImageError                     not an image we can read
│  ├─ PromptError                    a click, box, stroke or word that cannot be answered
│  ├─ CorruptRecordError             bad JSON, unknown schema number
│  │  └─ BrokenChainError            a change of the log that does not follow the one before
│  ├─ ChecksumError                  not the bytes the manifest names
│  ├─ OtherVersionError              a bundle that is not the one its release names
│  ├─ ReplayedReleaseError           a release from before one that was accepted
│  ├─ OlderModelError                an older model than the running one, and no roll-back
│  └─ SignatureError                 not what the holder of the key signed
│     ├─ UnsignedError
│     ├─ UnknownKeyError
│     ├─ RetiredKeyError             signed after its key was replaced
│     └─ RevokedKeyError
├─ LinkError                         the other side failed us
│  ├─ StorageError
│  │  ├─ ObjectNotFoundError
│  │  ├─ ObjectExistsError           put-if-absent found somebody else's object
│  │  ├─ ObjectChangedError          somebody wrote it after it was read
│  │  └─ StorageUnavailableError     retryable
│  │     └─ AuditUnavailableError    not recorded, therefore not done; retryable
│  ├─ LabelStudioError
│  │  ├─ LabelStudioRefusedError
│  │  ├─ ProjectMismatchError
│  │  └─ LabelStudioUnavailableError retryable
│  ├─ PictureAccessError             a task's picture that cannot or may not be fetched
│  └─ SednaError
│     └─ ReportRefusedError
├─ ModelError
│  ├─ ModelLoadError
│  ├─ ModelNotReadyError             weights are still being loaded; retryable
│  ├─ ModelBusyError                 too many wait already, or it was cancelled; retryable
│  ├─ ModelOutputError
│  ├─ TrialError                     a process of its own opened it and did not come back well
│  ├─ UnfitModelError                worse than the running one: too slow, unsure, one class
│  └─ ExportMismatchError
├─ TrainingError
│  └─ DivergedError
├─ ChangedMeanwhileError             not what somebody saw when he decided; nothing was done
└─ RoundError
   ├─ IllegalTransitionError
   ├─ LeaseLostError
   ├─ ReviewError
   └─ ConditionError
"""


class LifelongError(Exception):
    """Root of all errors of ours; the message says what, where, and what to do."""

    retryable = False


class ConfigError(LifelongError):
    """A configuration file says something it must not; names file, key and value."""


class RecordError(LifelongError):
    """A record or artefact breaks its own promise."""


class LabelMapError(RecordError):
    """A class the label map does not know, or another label map than expected."""


class LabelMapChangeError(LabelMapError):
    """How one label map became another is not known, or can be read in two ways."""


class ShapeError(RecordError):
    """An array has another shape, dtype or range than its name promises."""


class ImageError(RecordError):
    """Bytes that are not an image we can read."""


class PromptError(RecordError):
    """A click, box, stroke or word of an annotator that cannot be answered; says why."""


class CorruptRecordError(RecordError):
    """JSON that cannot be read, or a schema number from another age."""


class BrokenChainError(CorruptRecordError):
    """A change of the knowledge base that was altered, or does not follow the one before."""


class ChecksumError(RecordError):
    """Bytes that are not the ones their record names."""


class OtherVersionError(RecordError):
    """A bundle that is not the version its release names."""


class ReplayedReleaseError(RecordError):
    """A release with a lower number than one that this node has accepted."""


class OlderModelError(RecordError):
    """A model from an earlier round than the running one, in a release that is no roll-back."""


class SignatureError(RecordError):
    """Not what the holder of the named key signed."""


class UnsignedError(SignatureError):
    """Nobody signed it, and unsigned ones are not accepted here."""


class UnknownKeyError(SignatureError):
    """Signed by a key that is not in the key ring."""


class RetiredKeyError(SignatureError):
    """Signed by a key that had been replaced by then."""


class RevokedKeyError(SignatureError):
    """Signed by a key that nobody may trust any more."""


class LinkError(LifelongError):
    """The other side of a link failed us."""


class StorageError(LinkError):
    """Object storage refused or failed."""


class ObjectNotFoundError(StorageError):
    """No object under that key."""


class ObjectNameError(StorageError):
    """Somebody wrote an object whose name is no key; folders that hold it cannot be listed."""


class ObjectExistsError(StorageError):
    """A put-if-absent found an object already there."""


class ObjectChangedError(StorageError):
    """An object is no longer the one that was read; read it again."""


class StorageUnavailableError(StorageError):
    """Storage cannot be reached for now."""

    retryable = True


class AuditUnavailableError(StorageUnavailableError):
    """An action that was not carried out, because it could not be recorded first."""


class LabelStudioError(LinkError):
    """Label Studio failed or answered something unexpected."""


class LabelStudioRefusedError(LabelStudioError):
    """Label Studio answered 4xx: the token, the project or the request is wrong."""


class ProjectMismatchError(LabelStudioError):
    """A project's labelling config does not fit the label map."""


class LabelStudioUnavailableError(LabelStudioError):
    """Label Studio cannot be reached for now, or answered 5xx."""

    retryable = True


class PictureAccessError(LinkError):
    """A task's picture cannot be fetched from its address, or may not be."""


class SednaError(LinkError):
    """Sedna's environment or local controller broke its contract."""


class ReportRefusedError(SednaError):
    """The local controller answered a worker's report with an error."""


class ModelError(LifelongError):
    """A model could not be loaded, run or exported."""


class ModelLoadError(ModelError):
    """Weights or a bundle that cannot be loaded; says what was expected."""


class ModelNotReadyError(ModelError):
    """A model whose weights are still being loaded."""

    retryable = True


class ModelBusyError(ModelError):
    """A model that too many wait for already, or work that was cancelled."""

    retryable = True


class ModelOutputError(ModelError):
    """A model answered NaN, or another shape than its manifest promises."""


class TrialError(ModelError):
    """The process that opened a new model first crashed, hung, or found it wanting."""


class UnfitModelError(ModelError):
    """A new model answers worse than the running one on the same frames; says in what."""


class ExportMismatchError(ModelError):
    """The exported model does not answer as the trained one does."""


class TrainingError(LifelongError):
    """Training could not be carried out."""


class DivergedError(TrainingError):
    """The loss became NaN or infinite."""


class ChangedMeanwhileError(LifelongError):
    """What a person decided on is no longer as he saw it; nothing was done."""


class RoundError(LifelongError):
    """A round was asked for something its state does not allow."""


class IllegalTransitionError(RoundError):
    """A step from a state to one that may not follow it."""


class LeaseLostError(RoundError):
    """Another service holds the lease now; this one must stop advancing rounds."""


class ReviewError(RoundError):
    """A task cannot be accepted or rejected as it stands; says how it stands."""


class ConditionError(RoundError):
    """A condition cannot be named, dismissed or merged as it stands; says how it stands."""
