namespace FedICU.Interop;

/// <summary>The statuses of fedicu.h.</summary>
internal enum Status
{
    Ok = 0,
    InvalidArgument = 1,
    InvalidOptions = 2,
    InvalidModel = 3,
    RoundRejected = 4,
    WrongState = 5,
    Io = 6,
    OutOfMemory = 7,
    Aborted = 8,
    BufferTooSmall = 9,
    Internal = 99,
}
