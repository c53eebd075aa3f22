namespace FedICU.Gpu;

/// <summary>
/// A device was not found, was refused or failed, and the CPU may not do its work. The message is one sentence that
/// names the device.
/// </summary>
public sealed class GpuException : FedIcuException
{
    /// <summary>Creates an exception with a message.</summary>
    public GpuException(string message) : base(message)
    {
    }

    /// <summary>Creates an exception with a message and the exception of the device or its driver.</summary>
    public GpuException(string message, Exception cause) : base(message, cause)
    {
    }
}
