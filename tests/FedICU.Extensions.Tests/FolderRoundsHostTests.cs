using System.Diagnostics;
using FolderRounds;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>Starts and stops the host of samples/FolderRounds.</summary>
internal sealed class FolderRoundsHostTests : FolderWorkerFixture
{
    // .NET stops a host whose worker failed in the same way as on request, with exit code 0
    [Test]
    [CancelAfter(60_000)]
    public async Task AFailedWorkerGivesAnExitCode()
    {
        using (File.Open(_folder[".lock"], FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None))
        {
            Assert.That(await FolderRoundsHost.RunAsync(Build()), Is.EqualTo(1), "another worker has locked the folder");
            using Process worker = StartProcess();
            await worker.WaitForExitAsync();
            Assert.That(worker.ExitCode, Is.EqualTo(1));
            Assert.That(await worker.StandardError.ReadToEndAsync(), Does.Contain("another worker may have locked it"));
        }

        Assert.That(await FolderRoundsHost.RunAsync(Build(("FedICU:Strategy", "none"))), Is.EqualTo(1));
        IHost host = Build();
        Task<int> running = FolderRoundsHost.RunAsync(host);
        host.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        Assert.That(await running, Is.Zero);
    }

    [Test]
    public async Task ASecondWorkerIsRefused()
    {
        using IHost first = await StartAsync();
        await UntilAsync(() => File.Exists(_folder[".lock"]));
        using FolderWorker second = Worker();
        await second.StartAsync(default);
        Assert.That(
            async () => await second.ExecuteTask!,
            Throws.TypeOf<FedIcuException>().With.Message.Contains("another worker may have locked it"));
        await first.StopAsync();
    }

    [TestCase("Folder:Path", "", "Option 'Folder:Path' is missing; the folder to watch was expected.")]
    [TestCase("Folder:Poll", "0", "Option 'Folder:Poll' is not positive; more than 0 was expected.")]
    [TestCase("Folder:QuietTime", "-1", "Option 'Folder:QuietTime' is negative; at least 0 was expected.")]
    [TestCase("FedICU:Strategy", "none", "The strategy 'none' is unknown; NAMES are known.")]
    public void WrongOptionsFailTheStart(string name, string value, string sentence)
    {
        using IHost host = Build((name, value));
        Assert.That(() => host.StartAsync(), Throws.TypeOf<OptionsValidationException>().With.Message.EqualTo(Rounds.Name(sentence)));
    }
}
