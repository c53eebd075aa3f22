using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;

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
}
