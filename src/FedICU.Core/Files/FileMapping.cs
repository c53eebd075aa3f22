using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>A whole file mapped into memory for reading.</summary>
internal sealed unsafe class FileMapping : IDisposable
{
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _pointer;
    private int _disposed;

    public FileMapping(SafeFileHandle handle, long length, string path)
    {
        MemoryMappedFile? file = null;
        try
        {
            file = MemoryMappedFile.CreateFromFile(
                handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            _view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        }
        catch (Exception e) when (ModelFile.IsFileError(e) || e is ArgumentOutOfRangeException)
        {
            file?.Dispose();
            throw ModelFile.CannotRead(path, e);
        }

        byte* pointer = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _pointer = pointer + _view.PointerOffset;
        // The view stays valid after the mapped file object is disposed.
        file.Dispose();
    }

    /// <summary>Gets the address of the file's first byte, valid until the mapping is disposed.</summary>
    public byte* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            return _pointer;
        }
    }

    /// <summary>Copies bytes from the mapped file.</summary>
    public void Copy(long position, Span<byte> destination)
    {
        // Keeps the view mapped if another thread disposes it now: reading unmapped memory would kill the process.
        bool held = false;
        try
        {
            _view.SafeMemoryMappedViewHandle.DangerousAddRef(ref held);
            new ReadOnlySpan<byte>(Pointer + position, destination.Length).CopyTo(destination);
        }
        finally
        {
            if (held)
                _view.SafeMemoryMappedViewHandle.DangerousRelease();
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
    }
}
