namespace FedICU;

/// <summary>How a model file's data are reached.</summary>
public enum FileAccessMode
{
    /// <summary>
    /// Bounded positional reads into the caller's memory. The safe way for files that others may write: where another process truncates the file,
    /// a read ends in an <see cref="InvalidModelException"/> that names the file and the tensor.
    /// </summary>
    Read,

    /// <summary>
    /// Memory-mapped: tensors are lent without a copy. Only for files the caller vouches for, because the operating system kills a process
    /// that touches a mapped page beyond the end of a truncated file.
    /// </summary>
    Mapped,
}
