using System.Diagnostics;
using System.Runtime.Versioning;

namespace FedICU.Cli.Tests;

/// <summary>Tests how the tool finds and starts the FEDn service. A script takes the service's place.</summary>
[UnsupportedOSPlatform("windows")]
[Platform(Exclude = "Win", Reason = "the service's place is taken by a POSIX script")]
public sealed class ServeTests
{
    private string _folder = "";

    [SetUp]
    public void SetUp() => _folder = Directory.CreateTempSubdirectory("fedicu-serve-").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void TheServiceGetsTheArgumentsAndItsExitCodeIsTheTools()
    {
        string script = WriteScript("service", "printf '<%s>' \"$@\"; echo oops >&2; exit 7");
        Run run = Start(script, null, "serve", "fedn", "--FedIcu:Strategy=fedicu", "-x", "a b", "--", "--help", "");
        Assert.That((run.Code, run.Output, run.Error.Trim()), Is.EqualTo(
            (7, "<--FedIcu:Strategy=fedicu><-x><a b><--><--help><>", "oops")));
        run = Start(script, null, "serve", "fedn", "--", "--help");
        Assert.That((run.Code, run.Output), Is.EqualTo((7, "<--help>")));
        Assert.That(Start(script, null, "serve", "fedn").Code, Is.EqualTo(7));
    }

    [Test]
    public void TheServiceIsFoundOnThePath([Values("fedicu-fedn", "FedICU.Fedn")] string name)
    {
        WriteScript(name, "echo found");
        string path = $"{_folder}:{Environment.GetEnvironmentVariable("PATH")}";
        Assert.That(Start(null, path, "serve", "fedn").Succeeded().Output, Is.EqualTo("found\n"));
    }

    [Test]
    public void AMissingServiceIsNamedWithItsInstallation()
    {
        Run run = Start(null, "/usr/bin:/bin", "serve", "fedn", "--FedIcu:Strategy=fedavg");
        run.Failed(1, "The service 'fedicu-fedn' is neither beside this tool nor on PATH, and FEDICU_FEDN does not name it; " +
            "'dotnet tool install --global FedICU.Fedn' installs it.");
        Start(_folder + "/no", null, "serve", "fedn").Failed(1, $"FEDICU_FEDN is '{_folder}/no', where there is no file;");
        string plain = Path.Combine(_folder, "plain");
        File.WriteAllText(plain, "");
        Start(plain, null, "serve", "fedn").Failed(1, $"The service '{plain}' cannot be started:");
        Start(null, null, "serve", "flower").Failed(2, "The service 'flower' is unknown; fedn is known.");
        Start(null, null, "serve").Failed(2, "The argument SERVICE is missing");
        Start(null, null, "serve", "--FedIcu:Strategy=fedavg").Failed(2, "--FedIcu");
        string help = Start(null, null, "serve", "fedn", "--help").Succeeded().Output;
        Assert.That(help, Does.Contain("fedicu serve fedn --FedIcu:Strategy=fedicu"));
    }

    [TestCase("TERM"), TestCase("INT"), TestCase("HUP")]
    public void ASignalStopsTheServiceAndItsExitCodeIsTheTools(string signal)
    {
        string script = WriteScript("service", "trap 'echo stopped; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
        using Process process = Begin(script, null, "serve", "fedn");
        Assert.That(process.StandardOutput.ReadLine(), Is.EqualTo("ready"));
        using (Process kill = Process.Start("sh", ["-c", $"kill -{signal} {process.Id}"]))
            kill.WaitForExit();
        Run run = Tool.End(process);
        Assert.That((run.Code, run.Output), Is.EqualTo((5, "stopped\n")));
    }

    /// <summary>The tool must start without the web server's libraries.</summary>
    [Test]
    public void TheToolHasNoWebServer() => Assert.That(
        File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "fedicu.deps.json")),
        Does.Contain("FedICU.Core").And.Not.Contain("Grpc").And.Not.Contain("FedICU.Fedn"));

    private string WriteScript(string name, string body)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, $"#!/bin/sh\n{body}\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }

    private static Run Start(string? service, string? path, params string[] args)
    {
        using Process process = Begin(service, path, args);
        return Tool.End(process);
    }

    private static Process Begin(string? service, string? path, params string[] args)
    {
        // the tool's own process may be found by another PATH than the service
        string first = Environment.ProcessPath is { } host && Path.GetFileName(host) == Tool.Command[0] ? host : Tool.Command[0];
        return Tool.Start(first, [.. Tool.Command[1..], .. args], start =>
        {
            start.Environment["FEDICU_FEDN"] = service;
            if (path is not null)
                start.Environment["PATH"] = path;
        });
    }
}
