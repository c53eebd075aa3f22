using FedICU;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FolderRounds;

/// <summary>Sets up and runs the sample's host.</summary>
internal static class FolderRoundsHost
{
    /// <summary>
    /// Adds the aggregator that section FedICU configures, and the worker that section Folder configures.
    /// </summary>
    public static void AddFolderRounds(this HostApplicationBuilder builder)
    {
        builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"));
        builder.Services.AddOptions<FolderOptions>().BindConfiguration("Folder")
            .Validate(options => options.Path.Length > 0, "Option 'Folder:Path' is missing; the folder to watch was expected.")
            .Validate(options => options.Poll > TimeSpan.Zero, "Option 'Folder:Poll' is not positive; more than 0 was expected.")
            .Validate(
                options => options.QuietTime is not { } quiet || quiet >= TimeSpan.Zero,
                "Option 'Folder:QuietTime' is negative; at least 0 was expected.")
            .ValidateOnStart();
        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.AddHostedService<FolderWorker>();
    }

    /// <summary>
    /// Runs the host until it stops. .NET stops a host whose worker failed in the same way as on request; this method
    /// tells the two apart.
    /// </summary>
    /// <returns>The exit code: 0 after a requested stop, 1 if the host could not start or the worker failed.</returns>
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
