using FedICU;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FolderRounds;

internal static class FolderRoundsHost
{
    /// <summary>Adds what the sample is made of: an aggregator of the section FedICU, the worker of the section Folder.</summary>
    public static void AddFolderRounds(this HostApplicationBuilder builder)
    {
        builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"));
        builder.Services.AddOptions<FolderOptions>().BindConfiguration("Folder")
            .Validate(options => options.Path.Length > 0, "Option 'Folder:Path' is missing; the folder to watch was expected.")
            .Validate(options => options.Poll > TimeSpan.Zero, "Option 'Folder:Poll' is no time to wait; more than 0 was expected.")
            .Validate(options => options.QuietTime is not { } quiet || quiet >= TimeSpan.Zero, "Option 'Folder:QuietTime' is negative; at least 0 was expected.")
            .ValidateOnStart();
        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.AddHostedService<FolderWorker>();
    }

    /// <summary>
    /// Runs the host to its end. The platform ends a host whose worker fails as if it had been asked to stop; here that is told from a
    /// stop.
    /// </summary>
    /// <returns>The exit code: 0 after a stop, 1 where the host could not start or the worker failed.</returns>
    public static async Task<int> RunAsync(IHost host)
    {
        try
        {
            FolderWorker worker = host.Services.GetServices<IHostedService>().OfType<FolderWorker>().Single();
            await host.RunAsync();
            if (worker.ExecuteTask is not { IsFaulted: true } failed)
                return 0;
            await Console.Error.WriteLineAsync(failed.Exception.GetBaseException().Message);
        }
        catch (Exception e) when (e is FedIcuException or OptionsValidationException)
        {
            await Console.Error.WriteLineAsync(e.Message);
        }

        return 1;
    }
}
