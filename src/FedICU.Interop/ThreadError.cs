using System.Runtime.InteropServices;
using System.Text;

namespace FedICU.Interop;

/// <summary>
/// The message of a thread's last failure, in native memory that is freed after the thread has ended.
/// </summary>
internal sealed unsafe class ThreadError
{
    [ThreadStatic]
    private static ThreadError? t_current;

    private ThreadError()
    {
    }

    ~ThreadError() => NativeMemory.Free(Text);

    /// <summary>The calling thread's last error.</summary>
    public static ThreadError Current => t_current ??= new ThreadError();

    /// <summary>The message in UTF-8 with a zero byte at the end; "" if there was no failure.</summary>
    public byte* Text { get; private set; } = AllocateUtf8("");

    public void Set(string message)
    {
        byte* text = AllocateUtf8(message);
        NativeMemory.Free(Text);
        Text = text;
    }

    private static byte* AllocateUtf8(string text)
    {
        int bytes = Encoding.UTF8.GetByteCount(text);
        byte* memory = (byte*)NativeMemory.Alloc((nuint)bytes + 1);
        Encoding.UTF8.GetBytes(text, new Span<byte>(memory, bytes));
        memory[bytes] = 0;
        return memory;
    }
}
