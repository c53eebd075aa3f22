using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace FedICU.Cli.Comparing;

/// <summary>Runs a program, and keeps what it prints in two files.</summary>
internal static class ChildProcess
{
    // Chosen: how long the output is awaited after the end. A program that it left running may hold the streams open.
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(2);

    // bytes of a file's end that are read, chosen: more than a program prints as its result
    private const int TailBytes = 1 << 20;

    /// <summary>Runs a program to its end.</summary>
    /// <param name="start">The program and its arguments. It reads an empty input.</param>
    /// <param name="outputFile">Gets the standard output.</param>
    /// <param name="errorFile">Gets the error stream.</param>
    /// <param name="timeout">How long it may run, until it and all that it started is ended; null: no limit.</param>
    /// <param name="cancellationToken">Ends the program.</param>
    /// <exception cref="RefusedException">The program cannot be started.</exception>
    public static async Task<ChildResult> RunAsync(
        ProcessStartInfo start, string outputFile, string errorFile, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        start.UseShellExecute = false;
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        await using FileStream output = File.Create(outputFile), error = File.Create(errorFile);
        long begin = Stopwatch.GetTimestamp();
        using Process process = Start(start);
        process.StandardInput.Close();
        Task copies = Task.WhenAll(
            process.StandardOutput.BaseStream.CopyToAsync(output, cancellationToken),
            process.StandardError.BaseStream.CopyToAsync(error, cancellationToken));
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        if (timeout is { } longest)
            limit.CancelAfter(longest);
        bool isTimedOut = false;
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            cancellationToken.ThrowIfCancellationRequested();
            isTimedOut = true;
            await process.WaitForExitAsync(CancellationToken.None);
        }

        TimeSpan elapsed = Stopwatch.GetElapsedTime(begin);
        await Task.WhenAny(copies, Task.Delay(Rest, cancellationToken));
        cancellationToken.ThrowIfCancellationRequested();
        return new ChildResult(isTimedOut ? null : process.ExitCode, elapsed);
    }

    /// <summary>Reads the end of a file that a program has printed.</summary>
    public static string ReadTail(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        bool isCut = file.Length > TailBytes;
        file.Position = Math.Max(file.Length - TailBytes, 0);
        using var reader = new StreamReader(file, Encoding.UTF8);
        string text = reader.ReadToEnd();
        return isCut ? text[(text.IndexOf('\n', StringComparison.Ordinal) + 1)..] : text;
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException or PlatformNotSupportedException)
        {
            throw new RefusedException($"The program '{start.FileName}' cannot be started: {e.GetBaseException().Message}.");
        }
    }
}
