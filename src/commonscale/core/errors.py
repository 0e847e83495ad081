"""Every error and warning of Commonscale.

    CommonscaleError
    ├── MissingExtraError (ImportError)         an optional package is not installed
    ├── InvalidInputError (ValueError)          an argument or a vector cannot be used
    │   ├── UnknownScoreKindError               a score kind or store whose numbers have no known meaning
    │   └── ScoreOutOfRangeError                a number that the named score kind can never give
    ├── NotCalibratedError (RuntimeError)       a modality is searched that the calibration does not cover
    ├── CalibrationMismatchError (ValueError)   calibrated for another encoder or dimension
    ├── EncoderMismatchError (ValueError)       vectors of one encoder meet an index made by another
    ├── FileFormatError (ValueError)            a file is damaged, foreign or from a newer version
    ├── MissingDataError (FileNotFoundError)    a file of a published data set is not there, and where to get it
    ├── StorageError (OSError)                  a folder cannot be written to: it is full, or closed
    ├── IndexConflictError (RuntimeError)       somebody else writes to, or has changed, the index on disk
    ├── EncoderError (RuntimeError)             a model cannot be loaded, or gave vectors that cannot be used
    │   ├── InputRefusedError                   a service does not take a text or picture
    │   └── EncoderUnavailableError             a service cannot be used: no answer, no key, no quota left
    ├── PriorError (RuntimeError)               what a prior asks did not answer, or not clearly
    ├── AnswererError (RuntimeError)            a language model cannot be asked, or its answer broke off
    ├── IngestError (RuntimeError)              putting items into a store stopped half-way
    ├── ImageError (ValueError)                 one picture cannot be read, is refused or is too large
    └── SourceError (RuntimeError)              a store or retriever broke the contract of a source
        ├── SourceUnavailableError              a store cannot be reached, or does not answer in time
        ├── UnreadableVectorsError              a store does not give back the vectors that it holds
        └── StoreCheckError                     a store's numbers are not what they are taken for

    CommonscaleWarning (UserWarning)
    ├── FewQuestionsWarning                     statistics from too few questions, with their standard error
    ├── DegenerateStatisticsWarning             zero variance, or a modality without documents
    ├── TruncationWarning                       texts were cut at the encoder's limit, with a count
    ├── SkippedImageWarning                     pictures that could not be read were left out, with reasons
    ├── CacheWarning                            vectors could not be kept in a cache
    ├── MethodFallbackWarning                   calibrated with another method, since vectors cannot be read
    ├── PriorWarning                            questions that a prior could not judge are ranked without it
    ├── StaleCalibrationWarning                 documents that the calibration does not know, or will not
    ├── ContextWindowWarning                    more is sent to a language model than its context window holds
    ├── DriftWarning                            users ask other questions than those calibrated on
    └── MissingModalityWarning                  a modality whose store failed is missing from a ranking

Each message says what was given, what was needed and what to do.
"""

from collections.abc import Sequence


class CommonscaleError(Exception):
    """Base of every error that Commonscale raises on purpose."""


class MissingExtraError(CommonscaleError, ImportError):
    """An optional package is missing; the last line of the message is the command that installs it.

    Attributes:
        package: the import name that was not found.
        extra: the extra of Commonscale that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"This part of commonscale needs the package {package!r}, which is not installed. Run:\n"
            f"pip install 'commonscale[{extra}]'"
        )

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), (self.package, self.extra)


class InvalidInputError(CommonscaleError, ValueError):
    """An argument, an array or a setting cannot be used as given."""


class UnknownScoreKindError(InvalidInputError):
    """A score has no known meaning, so it cannot be turned into a cosine."""


class ScoreOutOfRangeError(InvalidInputError):
    """A score lies outside the range of its kind: the kind is wrong, or the vectors are not of unit norm."""


class NotCalibratedError(CommonscaleError, RuntimeError):
    """A modality has no statistics yet, so its cosines have no place on the common scale."""


class CalibrationMismatchError(CommonscaleError, ValueError):
    """A calibration belongs to another encoder, dimension or score kind than the one in use."""


class FileFormatError(CommonscaleError, ValueError):
    """A file is damaged, is not what its name says, or was written by another version."""


class MissingDataError(CommonscaleError, FileNotFoundError):
    """A file of a published data set is not in the folder; the message says where it is published."""


class StorageError(CommonscaleError, OSError):
    """A folder cannot be written to: its disk is full, or writing is not allowed."""


class EncoderError(CommonscaleError, RuntimeError):
    """A model cannot be loaded, or gave vectors that cannot be used."""


class InputRefusedError(EncoderError):
    """A service refused a text or picture of a batch; asking again with the same items would not help."""


class EncoderUnavailableError(EncoderError):
    """A service that embeds cannot be used: it did not answer in the attempts allowed, or refused the key."""


class EncoderMismatchError(CommonscaleError, ValueError):
    """Vectors of one encoder meet an index that another encoder made; their cosines would mean nothing."""


class IndexConflictError(CommonscaleError, RuntimeError):
    """An index on disk is being written, or has been changed, by somebody else since it was opened."""


class ImageError(CommonscaleError, ValueError):
    """A picture cannot be read, is refused, or is too large to be decoded safely."""


class PriorError(CommonscaleError, RuntimeError):
    """A language model that a prior asks did not answer, or not in words that can be read."""


class AnswererError(CommonscaleError, RuntimeError):
    """A language model cannot be asked, did not answer in time, or broke off; the message is for its user."""


class IngestError(CommonscaleError, RuntimeError):
    """Putting items into a store stopped half-way; putting all of them in again is safe.

    Attributes:
        stored: ids of the items that are in for certain, in order.
    """

    def __init__(self, message: str, stored: Sequence[str] = ()) -> None:
        self.stored = tuple(stored)
        super().__init__(message)

    def __reduce__(self) -> tuple[type["IngestError"], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.stored)


class SourceError(CommonscaleError, RuntimeError):
    """A source returned something that its contract forbids: missing scores, NaN, unequal lengths."""


class SourceUnavailableError(SourceError):
    """A store cannot be reached or does not answer in time; the cause is what its client raised."""


class UnreadableVectorsError(SourceError):
    """A store or retriever does not give back the vectors that it holds, which a method needs."""


class StoreCheckError(SourceError):
    """The check before the first search found that a store's rankings would be silently wrong."""


class CommonscaleWarning(UserWarning):
    """Base of every warning that Commonscale gives."""


class FewQuestionsWarning(CommonscaleWarning):
    """Statistics rest on too few questions to be stable."""


class DegenerateStatisticsWarning(CommonscaleWarning):
    """Statistics have no spread, or a modality has none because it holds no documents."""


class TruncationWarning(CommonscaleWarning):
    """Texts were longer than the encoder reads and have been cut."""


class SkippedImageWarning(CommonscaleWarning):
    """Pictures that could not be read have been left out."""


class CacheWarning(CommonscaleWarning):
    """New vectors could not be kept in a cache; they were given nevertheless."""


class MethodFallbackWarning(CommonscaleWarning):
    """The method asked for needs vectors that a store does not give; a simpler one was used."""


class PriorWarning(CommonscaleWarning):
    """A prior could not judge some questions, or was scaled to another calibration than that in use."""


class StaleCalibrationWarning(CommonscaleWarning):
    """A calibration is behind: documents came after it, or it is not, or no longer, kept up to date."""


class ContextWindowWarning(CommonscaleWarning):
    """What is sent to a language model does not fit its context window, or the window is not known."""


class DriftWarning(CommonscaleWarning):
    """The best hits of incoming questions differ from those of the questions that were calibrated on."""


class MissingModalityWarning(CommonscaleWarning):
    """A modality is missing from a ranking: its store failed, and the caller chose to go on without it."""
