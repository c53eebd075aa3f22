using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using FedICU.Files;

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
    /// <exception cref="RefusedException">The program cannot be started, or a file cannot be written.</exception>
    public static async Task<ChildResult> RunAsync(
        ProcessStartInfo start, string outputFile, string errorFile, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        start.UseShellExecute = false;
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        await using FileStream output = Create(outputFile), error = Create(errorFile);
        long begin = Stopwatch.GetTimestamp();
        using Process process = Start(start);
        process.StandardInput.Close();
        Task[] copies =
        [
            CopyAsync(process, process.StandardOutput, output, cancellationToken),
            CopyAsync(process, process.StandardError, error, cancellationToken),
        ];
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
        await Task.WhenAny(Task.WhenAll(copies), Task.Delay(Rest, cancellationToken));
        cancellationToken.ThrowIfCancellationRequested();
        if (Array.Find(copies, copy => copy.IsFaulted) is { } failed)
            await failed;
        return new ChildResult(isTimedOut ? null : process.ExitCode, elapsed);
    }

    /// <summary>Reads the end of a file that a program has printed.</summary>
    /// <exception cref="RefusedException">The file cannot be read.</exception>
    public static string ReadTail(string path)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            bool isCut = file.Length > TailBytes;
            file.Position = Math.Max(file.Length - TailBytes, 0);
            using var reader = new StreamReader(file, Encoding.UTF8);
            string text = reader.ReadToEnd();
            return isCut ? text[(text.IndexOf('\n', StringComparison.Ordinal) + 1)..] : text;
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new RefusedException($"'{path}' cannot be read: {FileFailure.Describe(e)}.");
        }
    }

    private static FileStream Create(string path)
    {
        try
        {
            // without a buffer, so that no write fails only when the file is closed
            return new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(path, e);
        }
    }

    /// <summary>Copies a stream of a program to a file. Ends the program if the file cannot be written.</summary>
    private static async Task CopyAsync(Process process, StreamReader from, FileStream file, CancellationToken cancellationToken)
    {
        try
        {
            await from.BaseStream.CopyToAsync(file, cancellationToken);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // nobody reads the pipe any more: the program would wait for ever
            process.Kill(entireProcessTree: true);
            throw CannotWrite(file.Name, e);
        }
    }

    private static RefusedException CannotWrite(string path, Exception e) =>
        new($"'{path}' cannot be written: {FileFailure.Describe(e)}.");

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
