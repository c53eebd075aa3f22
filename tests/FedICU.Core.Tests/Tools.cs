using System.Diagnostics;

namespace FedICU.Tests;

/// <summary>Tools that some tests need beyond the SDK. Missing ones skip the test with a line that names them; FEDICU_REQUIRE_TOOLS=1 makes that a failure.</summary>
internal static class Tools
{
    public static bool Required => Environment.GetEnvironmentVariable("FEDICU_REQUIRE_TOOLS") == "1";

    /// <summary>Ends the test: skipped where tools are optional, failed where they are required.</summary>
    public static void Missing(string what)
    {
        if (Required)
            Assert.Fail($"FEDICU_REQUIRE_TOOLS=1, and this test needs {what}.");
        Assert.Ignore($"needs {what}");
    }

    /// <summary>Debian's python3 with numpy; skips the test where it is missing.</summary>
    public static string PythonWithNumpy()
    {
        const string Debian = "/usr/bin/python3";
        foreach (string python in (string[])[Debian, "python3"])
        {
            if ((File.Exists(python) || python != Debian) && TryRun(python, ["-c", "import numpy"], out _) == 0)
                return python;
        }

        Missing("python3 with numpy");
        return "";
    }

    /// <summary>Runs a program to its end and returns its exit code with all it printed; -1 where it cannot be started.</summary>
    public static int TryRun(string program, IEnumerable<string> arguments, out string output)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            using var process = Process.Start(start)!;
            Task<string> error = process.StandardError.ReadToEndAsync();
            output = process.StandardOutput.ReadToEnd() + error.Result;
            process.WaitForExit();
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            output = e.Message;
            return -1;
        }
    }
}
