namespace FedICU;

/// <summary>Specifies how the data of a model file is read.</summary>
public enum FileAccessMode
{
    /// <summary>
    /// Reads bytes by position into the caller's memory. This is the safe mode for files that other processes may
    /// write: if a file is truncated, a read throws an <see cref="InvalidModelException"/> that names the file and the
    /// tensor.
    /// </summary>
    Read,

    /// <summary>
    /// Maps the file into memory and lends tensors without a copy. Use it only for files that nobody truncates while
    /// they are open: touching a mapped page beyond the end of a truncated file makes the operating system kill the
    /// process.
    /// </summary>
    Mapped,
}
