using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using TorchSharp;

namespace FedICU.Benchmarks.Torch;

/// <summary>
/// Lets TorchSharp's native library load on Debian 12. The library requires GLIBCXX_3.4.32, which Debian 12 lacks, but
/// calls nothing of that version. The loader accepts a missing version only if it is marked weak. This class marks it
/// in the copy of the library beside the program.
/// </summary>
internal static class WeakVersions
{
    // SHT_GNU_verneed of the ELF format
    private const int VersionNeeds = 0x6ffffffe;

    // VER_FLG_WEAK of the ELF format
    private const int Weak = 2;

    /// <summary>
    /// Loads libtorch from the program's folder, on Linux with the missing version marked weak. TorchSharp itself
    /// reports that it cannot load its library, but not why.
    /// </summary>
    /// <exception cref="DllNotFoundException">The library is missing or cannot be loaded.</exception>
    public static void LoadLibtorch()
    {
        string system = OperatingSystem.IsLinux() ? "linux" : OperatingSystem.IsMacOS() ? "osx" : "win";
        string platform = $"{system}-{RuntimeInformation.ProcessArchitecture}".ToLowerInvariant();
        string folder = Path.Combine(AppContext.BaseDirectory, "runtimes", platform, "native");
        if (!Directory.Exists(folder))
        {
            throw new DllNotFoundException(
                $"TorchSharp's package has no libtorch for {platform}: it has those of linux-x64, osx-arm64, win-x64 and win-arm64.");
        }

        if (OperatingSystem.IsLinux())
        {
            string library = Path.Combine(folder, "libLibTorchSharp.so");
            Mark(library, "GLIBCXX_3.4.32");
            NativeLibrary.Load(library);
        }

        try
        {
            torch.empty(0).Dispose();
        }
        catch (Exception e) when (e is TypeInitializationException or NotSupportedException)
        {
            throw new DllNotFoundException($"TorchSharp cannot load its library: {(e.InnerException ?? e).Message}", e);
        }
    }

    private static void Mark(string path, string version)
    {
        byte[] elf = File.ReadAllBytes(path);
        int sections = (int)U64(elf, 0x28), size = U16(elf, 0x3A), count = U16(elf, 0x3C);
        int needs = Enumerable.Range(0, count).Select(i => sections + i * size).First(at => U32(elf, at + 4) == VersionNeeds);
        int names = (int)U64(elf, sections + U32(elf, needs + 0x28) * size + 0x18);
        bool changed = false;
        for (int file = (int)U64(elf, needs + 0x18), next = 1; next != 0; file += next)
        {
            next = U32(elf, file + 12);
            int entry = file + U32(elf, file + 8);
            for (int left = U16(elf, file + 2); left > 0; left--, entry += U32(elf, entry + 12))
            {
                if ((U16(elf, entry + 4) & Weak) == 0 && Name(elf, names + U32(elf, entry + 8)) == version)
                    (elf[entry + 4], changed) = ((byte)(elf[entry + 4] | Weak), true);
            }
        }

        if (!changed)
            return;
        // replaces the file instead of changing it, because it may be a link to the file in the package folder
        File.Delete(path);
        File.WriteAllBytes(path, elf);
    }

    private static string Name(byte[] elf, int at) => Encoding.ASCII.GetString(elf.AsSpan(at, elf.AsSpan(at).IndexOf((byte)0)));

    private static int U16(byte[] elf, int at) => BinaryPrimitives.ReadUInt16LittleEndian(elf.AsSpan(at));

    private static int U32(byte[] elf, int at) => BinaryPrimitives.ReadInt32LittleEndian(elf.AsSpan(at));

    private static long U64(byte[] elf, int at) => BinaryPrimitives.ReadInt64LittleEndian(elf.AsSpan(at));
}
