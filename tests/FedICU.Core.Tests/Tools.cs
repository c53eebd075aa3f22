using System.Diagnostics;

namespace FedICU.Tests;

/// <summary>
/// Tools that some tests need in addition to the SDK. A missing tool skips the test with a message that names it; with
/// FEDICU_REQUIRE_TOOLS=1 the test fails instead.
/// </summary>
internal static class Tools
{
    public static bool Required => Environment.GetEnvironmentVariable("FEDICU_REQUIRE_TOOLS") == "1";

    /// <summary>Ends the test: skips it if tools are optional, fails it if they are required.</summary>
    public static void Missing(string what)
    {
        if (Required)
            Assert.Fail($"FEDICU_REQUIRE_TOOLS=1, and this test needs {what}.");
        Assert.Ignore($"needs {what}");
    }

    /// <summary>Returns a python3 with numpy, preferably Debian's; skips the test if there is none.</summary>
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

    /// <summary>Runs a program to its end. Returns its exit code and output; -1 if it cannot be started.</summary>
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
