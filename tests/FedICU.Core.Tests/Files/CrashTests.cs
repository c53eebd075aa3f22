using System.Diagnostics;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>A child process (FedICU.TestChild) is killed while it writes, or reads a file that is truncated.</summary>
public sealed class CrashTests
{
    [Test]
    [CancelAfter(60_000)]
    public void AKillDuringAWriteLeavesTheOldFile()
    {
        using var folder = new TempFolder();
        var old = new ArrayModel([Tensor("old", DType.F32, 10)]);
        Write(old, TensorSink.ToFile(folder["m.safetensors"]));
        using (Process child = Start("write-half", folder["m.safetensors"]))
        {
            Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("half"));
            var refusal = Assert.Throws<FedIcuException>(() => Write(old, TensorSink.ToFile(folder["m.safetensors"])))!;
            Assert.That(refusal.Message,
                Is.EqualTo($"'{folder["m.safetensors"]}' is being written by another run; wait until it has ended."));
            child.Kill();
            child.WaitForExit();
        }

        using (var file = SafetensorsFile.Open(folder["m.safetensors"]))
            AssertSame(file, old);
        Assert.That(folder.Names(), Has.Length.EqualTo(3), "the temporary and the lock's file are left over");
        Write(old, TensorSink.ToFile(folder["m.safetensors"]));
        Assert.That(folder.Names(), Is.EqualTo((string[])["m.safetensors"]), "the next run has removed them");
    }

    [Test]
    [CancelAfter(300_000)]
    public void AKillAtAnyTimeLeavesTheOldFileOrTheNew()
    {
        using var folder = new TempFolder();
        var random = new Random(7);
        var panel = new byte[1 << 20];
        for (int kill = 0; kill < 20; kill++)
        {
            using (Process child = Start("write-forever", folder["m.safetensors"]))
            {
                Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("0"));
                Thread.Sleep(random.Next(60));
                child.Kill();
                child.WaitForExit();
            }

            using var file = SafetensorsFile.Open(folder["m.safetensors"]);
            byte value = byte.Parse(file.Metadata["value"]);
            foreach (TensorInfo tensor in file.Tensors)
            {
                file.Read(tensor, 0, panel.AsSpan(0, (int)tensor.ByteLength));
                Assert.That(panel.AsSpan(0, (int)tensor.ByteLength).ContainsAnyExcept(value), Is.False, "bytes of two models");
            }
        }
    }

    [Test]
    [CancelAfter(60_000)]
    public void AFileTruncatedDuringAReadGivesAMessageAndTheProcessSurvives()
    {
        using var folder = new TempFolder();
        Write(new ArrayModel([Tensor("first", DType.U8, 1 << 20), Tensor("second", DType.U8, 1 << 20)]),
            TensorSink.ToFile(folder["m.safetensors"]));
        long length = new FileInfo(folder["m.safetensors"]).Length;
        using Process child = Start("read-while-truncated", folder["m.safetensors"]);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("open"));
        Thread.Sleep(30);
        using (FileStream stream = new(folder["m.safetensors"], FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            stream.SetLength(length - (1 << 18));

        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.That(output, Does.Match(
            $@"^'{folder["m.safetensors"]}' was truncated while it was read: tensor 'second' needs bytes \d+ to \d+ of the file, " +
            $@"which now has {length - (1 << 18)}\.\s+alive\s+$"));
        Assert.That(child.ExitCode, Is.Zero);
    }

    // artifacts/bin/FedICU.Core.Tests/debug/ and artifacts/bin/FedICU.TestChild/debug/ have a common parent.
    internal static Process Start(params string[] arguments)
    {
        var here = new DirectoryInfo(AppContext.BaseDirectory);
        string dll = Path.Combine(here.Parent!.Parent!.FullName, "FedICU.TestChild", here.Name, "FedICU.TestChild.dll");
        Assert.That(dll, Does.Exist, "FedICU.TestChild must be built beside this project");
        return Process.Start(new ProcessStartInfo("dotnet", ["exec", dll, .. arguments]) { RedirectStandardOutput = true })!;
    }
}
